"""After the tests: a table of the faults that were tried on the data's way, and what came of each."""
import sys


def pytest_terminal_summary(terminalreporter):
    rows, line = getattr(sys.modules.get('faults'), 'ROWS', []), terminalreporter.line
    if not rows: return
    terminalreporter.section('faults tried on the data')
    same = {}  # equal rows are told once, with how many they are and the longest time
    for r in rows: same.setdefault((r['group'], r['fault'], r['outcome'][:120]), []).append(r['seconds'])
    width = max(len(fault) for _, fault, _ in same)
    for (group, fault, outcome), times in same.items():
        line(f'{group:10} {fault:{width}} {max(times):6.1f} s  {outcome}' + (f' × {len(times)}' if len(times) > 1 else ''))
    wrong, half, hangs = (sum(r[key] for r in rows) for key in ('wrong', 'half', 'hangs'))
    line(f'{len(rows)} faults tried: {wrong} wrong bytes accepted, {half} half-written caches, {hangs} hangs')
