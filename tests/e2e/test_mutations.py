"""The breakages of tests/faults/mutations.py can still be made, name scenarios
that exist, and are those of docs/guarantees.md."""

import subprocess
import sys

from env.build import ROOT

import mutations


def test_each_can_be_made():
    for name, edits, scenarios in mutations.MUTATIONS:
        assert mutations.changed(ROOT, edits), name
        assert scenarios, name


def test_in_a_copy_of_the_tree(tmp_path):
    mutations.copy_tree(tmp_path)
    assert (tmp_path / "tests/faults/env/oracle.py").exists()


def test_scenarios_exist():
    names = subprocess.run(
        [sys.executable, ROOT / "tests/faults/faults.py", "--list"],
        stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    for name, _, scenarios in mutations.MUTATIONS:
        assert set(scenarios) <= set(names), name
    broken = {s for _, _, scenarios in mutations.MUTATIONS for s in scenarios}
    assert set(names) - broken == set(mutations.WITHOUT)


def test_table_of_the_guarantees():
    page = (ROOT / "docs" / "guarantees.md").read_text()
    assert mutations.table() in page, \
        "run tests/faults/mutations.sh --table and put it there"


def test_every_scenario_is_named_in_the_guarantees():
    page = (ROOT / "docs" / "guarantees.md").read_text()
    names = subprocess.run(
        [sys.executable, ROOT / "tests/faults/faults.py", "--list"],
        stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    assert names
    assert not [n for n in names if f"`{n}`" not in page]
