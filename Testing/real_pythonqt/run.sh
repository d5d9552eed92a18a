#!/usr/bin/env bash
# Runs tests of the panels in the program that build.sh has made: run.sh FOLDER [ARGUMENT OF PYTEST ...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
REAL_PYTHONQT=$(cd "${1:?usage: run.sh FOLDER [ARGUMENT OF PYTEST ...]}" && pwd)
shift
HLFD_CHECKOUT=$(cd "$here/../.." && pwd)
SITE_PACKAGES=$REAL_PYTHONQT/venv/lib/python3.12/site-packages
export REAL_PYTHONQT HLFD_CHECKOUT SITE_PACKAGES
export SLICER_SOURCE=$REAL_PYTHONQT/slicer
export VTK_WRAPPING=$SITE_PACKAGES/vtkmodules/libvtkWrappingPythonCore3.12.so
export HLFD_SCREENSHOTS=${HLFD_SCREENSHOTS:-$REAL_PYTHONQT/screenshots}
export QT_QPA_PLATFORM=offscreen OMP_NUM_THREADS=1
PYTHONHOME=$("$SITE_PACKAGES/../../../bin/python" -c 'import sys; print(sys.base_prefix)')
export PYTHONHOME
cd "$HLFD_CHECKOUT"
if [ $# -gt 0 ]; then
  exec "$REAL_PYTHONQT/host" "$here/run_tests.py" "$@"
fi
status=0
for panel in module training_module cases_panel training_panel outcome changes comparison attention_review; do
  "$REAL_PYTHONQT/host" "$here/run_tests.py" -q "Testing/test_slicer_$panel.py" || status=1
done
exit $status
