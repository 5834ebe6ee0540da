import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.telemetry.exposition.exposition import (
    MAX_LINE,
    MAX_SAMPLES,
    Exposition,
    ExpositionError,
    Parser,
    Reader,
    by_label,
    merge,
    value,
)


def parse(data: bytes) -> Exposition:
    return Parser().parse(data)


def samples(data: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """An exposition as prometheus_client's own parser reads it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(data.decode())
        for sample in family.samples
    }


def instance(level: float = 1.0, *, odd: str = "plain") -> bytes:
    registry = CollectorRegistry()
    Gauge("memory_usage_mb", 'Has "quotes", a \\ and\na line.', registry=registry).set(level)
    Counter("sent", "Sent.", ["kind"], registry=registry).labels(kind=odd).inc(3)
    histogram = Histogram("jitter_ms", "Jitter.", buckets=(1, 2, 5), registry=registry)
    for observed in (0.5, 1.5, 3, 9):
        histogram.observe(observed)
    Summary("size", "Size.", registry=registry).observe(2)
    Gauge("empty", "Never set.", ["client_id"], registry=registry)
    return generate_latest(registry)


def test_merging_one_exposition_without_labels_changes_nothing() -> None:
    data = instance(odd='a "b" \\ c\nd,e="f"')
    assert samples(merge([({}, parse(data))])) == samples(data)


@given(
    st.lists(st.tuples(st.text(max_size=20), st.floats(allow_nan=False)), min_size=1, max_size=4),
)
def test_merging_keeps_every_sample_and_adds_the_labels(parts: list[tuple[str, float]]) -> None:
    # Each is made once: an exposition holds the creation time of its counters.
    texts = [instance(level, odd=odd) for odd, level in parts]
    merged = samples(
        merge(({"service": "edge", "instance": f"e{number}"}, parse(text)) for number, text in enumerate(texts))
    )
    for number, text in enumerate(texts):
        own = {("service", "edge"), ("instance", f"e{number}")}
        for (name, labels), expected in samples(text).items():
            assert merged[name, frozenset(labels | own)] == expected
    assert len(merged) == len(parts) * len(samples(instance()))


def test_a_metric_without_samples_is_still_announced() -> None:
    text = merge([({"instance": "a"}, parse(instance()))]).decode()
    assert "# HELP empty Never set." in text
    assert "# TYPE empty gauge" in text


def test_each_metric_is_announced_once() -> None:
    lines = merge(({"instance": name}, parse(instance())) for name in "abc").decode().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert len(comments) == len(set(comments))


def test_labels_that_would_be_hidden_are_kept_under_another_name() -> None:
    data = b'build{service="edge",version="1"} 1\nbuild{service="other",version="2"} 1\n'
    merged = samples(merge([({"service": "edge", "instance": "e1"}, parse(data))]))
    own = {("service", "edge"), ("instance", "e1")}
    assert ("build", frozenset({*own, ("version", "1")})) in merged
    assert ("build", frozenset({*own, ("version", "2"), ("exported_service", "other")})) in merged


def test_a_label_whose_name_or_value_only_resembles_an_added_one_is_unchanged() -> None:
    data = b'x{my_instance="1",note="instance=\\"2\\""} 1\n'
    merged = samples(merge([({"instance": "i"}, parse(data))]))
    expected = frozenset({("my_instance", "1"), ("note", 'instance="2"'), ("instance", "i")})
    assert merged == {("x", expected): 1.0}


def test_of_two_types_of_a_metric_the_first_is_kept() -> None:
    first, second = parse(b"# TYPE x gauge\nx 1\n"), parse(b"# TYPE x untyped\nx 2\n")
    merged = merge([({"instance": "a"}, first), ({"instance": "b"}, second)])
    assert samples(merged) == {("x", frozenset({("instance", "a")})): 1.0}


def test_of_several_types_of_a_metric_the_most_frequent_is_kept() -> None:
    wrong, right = parse(b"# TYPE x histogram\nx_bucket 1\n"), parse(b"# TYPE x gauge\nx 2\n")
    merged = merge(({"instance": name}, wrong if name == "a" else right) for name in "abc")
    assert b"# TYPE x gauge" in merged
    assert samples(merged) == {("x", frozenset({("instance", name)})): 2.0 for name in "bc"}


def test_a_type_without_samples_yields_to_one_with_samples() -> None:
    merged = merge([({}, parse(b"# TYPE x counter\n")), ({"instance": "b"}, parse(b"# TYPE x gauge\nx 2\n"))])
    assert b"# TYPE x gauge" in merged
    assert samples(merged) == {("x", frozenset({("instance", "b")})): 2.0}


def test_names_of_instances_are_escaped() -> None:
    merged = merge([({"instance": 'a"b\\c\nd'}, parse(b"x 1\n"))])
    assert samples(merged) == {("x", frozenset({("instance", 'a"b\\c\nd')})): 1.0}


@pytest.mark.parametrize(
    "line",
    [
        b"x",
        b"x one",
        b'x{a="1} 2',
        b'x{a="1" b="2"} 3',
        b"9x 1",
        b'x{9="1"} 2',
        b"x 1 2 3",
        b"x{} {y} 1",
        b"# TYPE x dial",
        b"x 1\xff",
    ],
)
def test_a_malformed_line_is_an_error_that_names_it(line: bytes) -> None:
    with pytest.raises(ExpositionError) as error:
        parse(b"ok 1\n" + line + b"\n")
    assert error.value.line == 2


def test_expositions_of_other_exporters_are_read_too() -> None:
    data = b'# A comment.\n\nx{a="1",} 2 1395066363000\ny 1e-3 \nz{b="q"} +Inf\nw NaN\n#EOF\n'
    exposition = parse(data)
    assert value(exposition, "x") == 2.0
    assert value(exposition, "y") == 0.001
    assert value(exposition, "z") == math.inf
    assert math.isnan(value(exposition, "w") or 0.0)


@pytest.mark.parametrize("number", ["\u0661", "infinity", "+NaN", "1_0", "0x1p4"])
def test_numbers_of_python_that_are_none_for_prometheus_are_errors(number: str) -> None:
    reader = Reader(Parser())
    reader.read(b"x 1\n")
    with pytest.raises(ExpositionError):
        reader.read(f"x {number}\n".encode())


def test_blanks_around_a_number_are_not_passed_on() -> None:
    reader = Reader(Parser())
    reader.read(b"x 1\n")
    assert merge([({}, reader.read(b"x 2\r\n"))]) == b"# TYPE x untyped\nx 2\n"


@pytest.mark.timeout(10)
def test_a_long_line_that_is_no_sample_is_refused_quickly() -> None:
    # A pattern that could split the digits in several ways would take minutes for one instance's answer.
    for line in (b"x " + b"1" * 10**6 + b"y", b"x{" + b'a="",' * 10**5 + b"y", b"x" * 10**6 + b"{", b" " * 10**6):
        with pytest.raises(ExpositionError):
            parse(line + b"\n")


def test_known_series_are_read_with_new_values_and_new_faults() -> None:
    parser = Parser()
    for number in range(3):
        exposition = parser.parse(b'# TYPE x gauge\nx{a="1"} %d\nx{a="1"} 9 1395066363000\n' % number)
        assert [text for _, text in exposition["x"].samples] == [str(number), "9"]
    for bad in (b"1_000", b"one", b"", b"0x1"):
        with pytest.raises(ExpositionError):
            parser.parse(b'x{a="1"} ' + bad + b"\n")


def test_a_full_parser_forgets_and_continues() -> None:
    parser = Parser(max_known=100)
    for number in range(1000):
        assert value(parser.parse(b'x{a="%d"} 1\n' % number), "x") == 1.0
    assert len(parser._series) <= 102


@pytest.mark.parametrize("line", ['x{a="%s"} 1', "# HELP x %s", "# %s"])
def test_a_line_that_is_too_long_is_refused_and_not_remembered(line: str) -> None:
    parser = Parser()
    parser.parse((line % ("y" * (MAX_LINE - 20))).encode())
    for _ in range(3):
        with pytest.raises(ExpositionError, match="at most 2000 characters"):
            parser.parse((line % ("z" * MAX_LINE)).encode())
    assert not any("z" in known for known in (*parser._series, *parser._comments))


def test_too_many_samples_are_an_error() -> None:
    parse(b"".join(b"x%d 1\n" % n for n in range(MAX_SAMPLES)))
    with pytest.raises(ExpositionError, match="at most"):
        parse(b"".join(b"x%d 1\n" % n for n in range(MAX_SAMPLES + 1)))


def test_values_are_looked_up() -> None:
    exposition = parse(b'# TYPE t counter\nt{k="a",l="1"} 1\nt{k="a",l="2"} 2\nt{k="b",l="1"} 4\n')
    assert value(exposition, "t") == 7.0
    assert by_label(exposition, "t", "k") == {"a": 3.0, "b": 4.0}
    assert value(exposition, "missing") is None
    assert by_label(exposition, "missing", "k") == {}


EXPOSITIONS = (
    b'# TYPE x gauge\nx{a="1"} 1\nx{a="2"} 2\n# TYPE y counter\ny_total 5\n',
    b'# TYPE x gauge\nx{a="1"} 1\nx{a="2"} 3\n# TYPE y counter\ny_total 6\n',
    b'# TYPE x gauge\nx{a="1"} 1\nx{a="7"} 3\n# TYPE y counter\ny_total 6\n',
    b'# TYPE x counter\nx{a="1"} 1\nx{a="7"} 3\n# TYPE y counter\ny_total 6\n',
    b'# TYPE x counter\nx{a="1"} 1 99\n# TYPE y counter\ny_total 6\n',
    b'# TYPE x counter\nx{a="1"} 1 98\n# TYPE y counter\ny_total 6\n',
    b'# TYPE x counter\nx{a="1"} 1\n# TYPE y counter\ny_total 6\ny_total{b="1"} 6\n',
    b"",
)


def test_a_reader_that_reads_only_differences_agrees_with_the_parser() -> None:
    for order in (EXPOSITIONS, EXPOSITIONS[::-1], EXPOSITIONS * 2):
        reader = Reader(Parser())
        for data in order:
            assert reader.read(data) == parse(data)


def test_a_malformed_exposition_changes_nothing_and_the_next_one_is_read() -> None:
    reader = Reader(Parser())
    kept = reader.read(EXPOSITIONS[0])
    for bad in (EXPOSITIONS[0].replace(b"2\n", b"two\n"), EXPOSITIONS[0] + b"x{", b"\xff"):
        with pytest.raises(ExpositionError):
            reader.read(bad)
        assert kept == parse(EXPOSITIONS[0])
        assert reader.read(EXPOSITIONS[1]) == parse(EXPOSITIONS[1])
        kept = reader.read(EXPOSITIONS[0])
