#!/usr/bin/env bash
# Builds a program with the PythonQt and the CTK of Slicer 5.12 into a folder, see README.md: build.sh FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?usage: build.sh FOLDER}"
cd "$1"
built=$PWD
python=${PYTHON:-python3.12}
prefix=$($python -c 'import sys; print(sys.base_prefix)')

# What Slicer 5.12.3 is built of (SuperBuild/External_CTK.cmake; CMakeExternals/PythonQt.cmake of CTK): of its PythonQt,
# the commit of the original that it adds its build files to.
source_of() { # FOLDER ADDRESS COMMIT
  [ -d "$1" ] || { git clone -q "$2" "$1.part" && git -C "$1.part" checkout -q "$3" && mv "$1.part" "$1"; }
}
source_of pythonqt "${PYTHONQT_REPOSITORY:-https://github.com/MeVisLab/pythonqt.git}" 9992368e937cc6cfaf5b1fb274ddc7b72ec73d4c
source_of ctk-source "${CTK_REPOSITORY:-https://github.com/commontk/CTK.git}" 5056664a20a3d0a393bb6d91f040525581e0dcdf
source_of slicer "${SLICER_REPOSITORY:-https://github.com/Slicer/Slicer.git}" v5.12.3

echo "PythonQt"
(
  cd pythonqt
  export PYTHON_DIR=$prefix PYTHON_VERSION=3.12
  qmake PythonQt.pro CONFIG+=exclude_generator CONFIG+=release QMAKE_CXXFLAGS_RELEASE=-O0 \
    DEFINES+=PYTHONQT_SUPPORT_NAME_PROPERTY PYTHONQTALL_CONFIG="PythonQtCore PythonQtGui PythonQtUiTools" &> ../pythonqt.log
  make -j"$(nproc)" sub-src sub-extensions &>> ../pythonqt.log
)
mkdir -p pythonqt-installed/include/PythonQt pythonqt-installed/lib
cp pythonqt/src/PythonQt*.h pythonqt/extensions/PythonQt_QtAll/PythonQt*.h pythonqt-installed/include/PythonQt/
cp -r pythonqt/src/gui pythonqt-installed/include/PythonQt/
cp -a pythonqt/lib/*.so* pythonqt-installed/lib/
ln -sf libPythonQt-Qt5-Python3.12.so pythonqt-installed/lib/libPythonQt.so
libraries="-L$built/pythonqt-installed/lib -lPythonQt-Qt5-Python3.12 -lPythonQt_QtAll-Qt5-Python3.12"
libraries="$libraries -Wl,-rpath,$built/pythonqt-installed/lib:$prefix/lib"

echo "CTK"
cmake -G Ninja -S ctk-source -B ctk -DCTK_SUPERBUILD=OFF -DCTK_QT_VERSION=5 -DCTK_BUILD_ALL=OFF -DBUILD_TESTING=OFF \
  -DCTK_LIB_Core=ON -DCTK_LIB_Widgets=ON -DCTK_LIB_Scripting/Python/Core=ON \
  -DCTK_LIB_Scripting/Python/Core_PYTHONQT_USE_VTK=OFF -DCTK_BUILD_QTDESIGNER_PLUGINS=ON \
  -DCTK_ENABLE_Python_Wrapping=ON -DCTK_USE_PYTHON=ON -DPYTHONQT_INSTALL_DIR="$built/pythonqt-installed" \
  -DPYTHON_INCLUDE_DIR="$prefix/include/python3.12" -DPYTHON_LIBRARY="$prefix/lib/libpython3.12.so" \
  -DPYTHON_EXECUTABLE="$prefix/bin/python3.12" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O0 \
  -DCMAKE_SHARED_LINKER_FLAGS="-Wl,--no-as-needed $libraries" &> ctk.log
ninja -C ctk &>> ctk.log

echo "the program"
qt=$(qmake -query QT_INSTALL_HEADERS)
compile="g++ -O0 -fPIC -I$here -I$built -I$qt/QtUiPlugin -I$qt/QtDesigner $(pkg-config --cflags Qt5Widgets)"
qt_libraries=$(pkg-config --libs Qt5Widgets)
mkdir -p plugins/designer python/qt
moc -I"$qt/QtUiPlugin" "$here/mrml_widgets.h" -o moc_mrml_widgets.cpp
moc -I"$qt" -I"$qt/QtUiPlugin" "$here/mrml_widgets_plugin.cpp" -o mrml_widgets_plugin.moc
# shellcheck disable=SC2086 # words of a command line
{
  $compile -shared -include "$here/mrml_widgets.h" moc_mrml_widgets.cpp -o libmrml_widgets.so $qt_libraries
  $compile -shared "$here/mrml_widgets_plugin.cpp" -o plugins/designer/libmrml_widgets_plugin.so \
    -L. -lmrml_widgets -Wl,-rpath,"$built" $qt_libraries
  $compile $("$prefix/bin/python3.12-config" --includes) -Ipythonqt-installed/include/PythonQt "$here/host.cpp" -o host \
    $libraries -L. -lmrml_widgets -Wl,-rpath,"$built" $qt_libraries -ldl \
    $("$prefix/bin/python3.12-config" --ldflags --embed)
}
cp ctk/bin/designer/*.so plugins/designer/
printf 'from PythonQt.Qt%s import *\n' Core Gui UiTools > python/qt/__init__.py

echo "the packages"
"$prefix/bin/python3.12" -m venv venv
venv/bin/python -m pip install -q -c "$here/../../constraints.txt" -e "$here/../..[test]"
printf '#!/bin/sh\nexec "%s/venv/bin/python" "$@"\n' "$built" > interpreter
chmod +x interpreter
