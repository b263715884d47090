"""Sums what ./test has run, from its results folder, and prints "N passed, N failed" as the last line.

Exit code 0 when something passed and nothing failed.
"""

import pathlib
import sys
import xml.etree.ElementTree as xml


def cases(path):
    """(name, failed, skipped) of every test case in a JUnit file."""
    for case in xml.parse(path).iter("testcase"):
        failed = any(child.tag in ("failure", "error") for child in case) or case.get("status") == "fail"
        skipped = any(child.tag == "skipped" for child in case) or case.get("status") in ("notrun", "disabled")
        yield f"{case.get('classname')}.{case.get('name')}", failed, skipped


def preset(results, name, failures):
    """(passed, skipped), and what failed added to `failures`: cases of GoogleTest, and programs that died without a word."""
    passed = skipped = 0
    for program, program_failed, _ in cases(results / f"{name}.ctest.xml"):
        program = program.rpartition(".")[2]
        report = results / name / f"{program}_test.xml"
        found = []
        try:
            found = list(cases(report)) if report.exists() else []
        except xml.ParseError:
            pass  # it died while it wrote
        passed += sum(not failed and not skipped for _, failed, skipped in found)
        skipped += sum(skip for _, _, skip in found)
        own = [f"{name}: {case}" for case, failed, _ in found if failed]
        if program_failed and not own:
            own = [f"{name}: {program} as a whole"]
        elif not found:
            passed += 1  # a test that is no GoogleTest program
        failures += own
    return passed, skipped


def main(results):
    passed, failures, skipped = 0, [], 0
    for path in sorted(results.glob("*.ctest.xml")):
        more, skip = preset(results, path.name.removesuffix(".ctest.xml"), failures)
        passed += more
        skipped += skip
    pytest = results / "pytest.xml"
    if pytest.exists():
        for case, failed, skip in cases(pytest):
            skipped += skip
            passed += not failed and not skip
            if failed:
                failures.append(f"end to end: {case}")
    for line in (results / "outcomes.txt").read_text().splitlines():
        outcome, _, name = line.partition(" ")
        passed += outcome == "pass"
        if outcome == "fail":
            failures.append(name)
    print()
    for failure in failures:
        print(f"failed: {failure}")
    print(f"{passed} passed, {len(failures)} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if passed and not failures else 1


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
