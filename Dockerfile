# Images of the three services.
#
#   docker build --target edge      -t auralis-edge:0.1.0 .
#   docker build --target telemetry -t auralis-telemetry:0.1.0 .
#   docker build --target synthesis -t auralis-synthesis:0.1.0 .
#
# Build arguments:
#   BASE        a Debian with Python 3.12 and pip, the same for building and for running
#   TORCH       flavour of torch: `cpu` packages compiled kernels; `cu130` and the like keep a C compiler, which torch
#               needs to make GPU kernels at the start
#   TORCH_INDEX address of the package index that has this flavour; without it torch comes from the usual index, whose
#               x86-64 wheel is one for CUDA, which also runs on CPUs and is larger
#   VERSION, REVISION, CREATED    for the labels
#
# Everything runs as user 10001 from a root file system that may be read-only, with /tmp to write to, and needs no shell.

ARG BASE=python:3.12-slim

# --- common to all images ---------------------------------------------------------------------------------------------

FROM ${BASE} AS runtime
# A number, so that Kubernetes can see that the user is not root; the user owns nothing.
USER 10001:10001
WORKDIR /
ENV PATH=/opt/auralis/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONFAULTHANDLER=1 PYTHONSAFEPATH=1 \
    AURALIS_HOST=0.0.0.0 AURALIS_LOG_FORMAT=json HOME=/tmp
LABEL org.opencontainers.image.vendor="Auralis" org.opencontainers.image.licenses="Apache-2.0"
# Internal port of every service: /metrics /healthz /readyz /drain.
EXPOSE 9090

# A running image installs nothing: the base's pip and Python's bundled pip are removed.
FROM runtime AS bare
USER 0:0
RUN pip uninstall -q -y --root-user-action=ignore pip && rm -rf /usr/local/lib/python3*/ensurepip
USER 10001:10001

# --- dependencies, from constraints.txt: the layers that seldom change ------------------------------------------------

# For each image its requirements and the pins that constraints.txt marks with its name, with a fixed modification time.
# Other changes of these two files stop here and do not invalidate later layers.
FROM ${BASE} AS requirements
WORKDIR /build
COPY pyproject.toml constraints.txt ./
RUN ["python3", "-c", "import os, tomllib\nproject = tomllib.load(open('pyproject.toml', 'rb'))['project']\npins = [line.split() for line in open('constraints.txt') if '==' in line]\nfor name in ('synthesis', 'edge', 'telemetry'):\n    wanted = project['dependencies'] + project['optional-dependencies'][name]\n    open(name + '.txt', 'w').write('\\n'.join(wanted) + '\\n')\n    open(name + '.pins', 'w').write(''.join(words[0] + '\\n' for words in pins if name in words))\n    os.utime(name + '.txt', (0, 0))\n    os.utime(name + '.pins', (0, 0))\nopen('code.pins', 'w').write(''.join(words[0] + '\\n' for words in pins if words[0].startswith('setuptools==')))\nos.utime('code.pins', (0, 0))\n"]

FROM runtime AS tools
USER 0:0
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# The environment holds no pip: it is filled from outside, and an image without pip is smaller and has less to attack.
RUN python3 -m venv --without-pip /opt/auralis
WORKDIR /build

# Wheels carry tests, stubs for type checkers and symbols for debuggers: a third of these two images.
FROM tools AS slim-tools
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends binutils \
 && rm -rf /var/lib/apt/lists/* \
 && printf '%s\n' '#!/bin/sh -e' 'cd /opt/auralis/lib/python3*/site-packages' \
        'find . -type d -name tests -prune -exec rm -rf {} +' 'find . -name "*.pyi" -delete' \
        'find . -type f -name "*.so*" -exec strip --strip-unneeded {} +' >/usr/local/bin/slim \
 && chmod +x /usr/local/bin/slim

# Compiled once here: a read-only root file system cannot keep what Python compiles at its start. Hashes in place of
# times make the same input give the same layer.
FROM slim-tools AS edge-dependencies
COPY --from=requirements /build/edge.pins /build/edge.txt ./
RUN pip --python /opt/auralis/bin/python install --no-compile -c edge.pins -r edge.txt \
 && slim \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/auralis/lib

FROM slim-tools AS telemetry-dependencies
COPY --from=requirements /build/telemetry.pins /build/telemetry.txt ./
RUN pip --python /opt/auralis/bin/python install --no-compile -c telemetry.pins -r telemetry.txt \
 && slim \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/auralis/lib

FROM tools AS synthesis-dependencies
COPY --from=requirements /build/synthesis.pins /build/synthesis.txt ./
ARG TORCH_INDEX
ARG TORCH=cpu
# The usual wheel contains everything for GPUs. For CPUs the libraries that torch is linked with must stay, or it does not
# start; libraries that torch opens only on a GPU are removed: two of six gigabytes.
RUN pip --python /opt/auralis/bin/python install --no-compile -c synthesis.pins -r synthesis.txt \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
 && case "$TORCH" in cpu) \
        pip --python /opt/auralis/bin/python uninstall -q -y triton \
     && cd /opt/auralis/lib/python3*/site-packages \
     && if [ -d nvidia ]; then \
            find torch/lib -name '*.so*' -exec ldd {} + 2>/dev/null | sed -n 's/.* => \(\/.*\) (.*/\1/p' \
              | xargs realpath | sort -u >/tmp/linked \
         && find "$PWD/nvidia" -type f -name '*.so*' | sort | comm -23 - /tmp/linked | xargs rm -f /tmp/linked; \
        fi ;; esac \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/auralis/lib

# --- our code: the same for all ---------------------------------------------------------------------------------------

FROM tools AS code
COPY --from=requirements /build/code.pins ./
RUN pip install -c code.pins setuptools
COPY pyproject.toml README.md LICENSE ./
COPY services services
RUN pip wheel -q --no-deps --no-build-isolation -w /tmp/wheel . \
 && pip --python /opt/auralis/bin/python install --no-compile --no-deps /tmp/wheel/*.whl \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/auralis/lib

# --- kernels, compiled where a compiler is ----------------------------------------------------------------------------

FROM synthesis-dependencies AS kernels
ARG TORCH=cpu
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
# Only the sources of the kernels: a change elsewhere compiles nothing again.
COPY services/__init__.py /source/services/
COPY services/contract/__init__.py services/contract/timebase.py /source/services/contract/
COPY services/synthesis/__init__.py /source/services/synthesis/
COPY services/synthesis/kernels /source/services/synthesis/kernels
COPY services/synthesis/dsp /source/services/synthesis/dsp
# First for every x86-64 processor with AVX2, then for this machine's processor; a worker opens the best package that its
# own processor can run.
RUN mkdir -p /opt/kernels && export PYTHONPATH=/source \
 && case "$TORCH" in cpu) \
        export XDG_CACHE_HOME=/opt/built \
     && ATEN_CPU_CAPABILITY=avx2 /opt/auralis/bin/python -m services.synthesis.kernels.build \
     && /opt/auralis/bin/python -m services.synthesis.kernels.build \
     && mv /opt/built/auralis/kernels/* /opt/kernels/ ;; esac

# --- the images -------------------------------------------------------------------------------------------------------

# Labels that change with every commit come last, so that the layers before them stay.

FROM bare AS telemetry
COPY --from=telemetry-dependencies /opt/auralis /opt/auralis
COPY --from=code /opt/auralis /opt/auralis
ENTRYPOINT ["python", "-m", "services.telemetry"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="auralis-telemetry" \
      org.opencontainers.image.description="The state of an Auralis fleet: metrics, dashboard" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

FROM bare AS edge
COPY --from=edge-dependencies /opt/auralis /opt/auralis
COPY --from=code /opt/auralis /opt/auralis
EXPOSE 8000
ENTRYPOINT ["python", "-m", "services.edge"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="auralis-edge" \
      org.opencontainers.image.description="Streams generative ambient music to listeners" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

# On top of where its gigabytes were installed: copying them into another stage takes minutes and gains nothing.
FROM synthesis-dependencies AS synthesis
ARG TORCH=cpu
RUN case "$TORCH" in cpu) ;; *) \
        apt-get update -qq \
     && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc g++ libc6-dev \
     && rm -rf /var/lib/apt/lists/* ;; esac \
 && pip uninstall -q -y pip && rm -rf /usr/local/lib/python3*/ensurepip
USER 10001:10001
WORKDIR /
COPY --from=kernels /opt/kernels /opt/kernels
COPY --from=code /opt/auralis /opt/auralis
# torch asks for the user's name to name its caches, and this user has none.
ENV AURALIS_KERNEL_CACHE=/opt/kernels USER=auralis \
    TORCHINDUCTOR_CACHE_DIR=/tmp/inductor TRITON_CACHE_DIR=/tmp/triton
ENTRYPOINT ["python", "-m", "services.synthesis"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="auralis-synthesis" \
      org.opencontainers.image.description="Renders generative ambient music" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
