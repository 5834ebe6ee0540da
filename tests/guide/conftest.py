"""The guide's scripts are run by test_guide_scripts.py, not collected."""

collect_ignore = ["scripts"]
