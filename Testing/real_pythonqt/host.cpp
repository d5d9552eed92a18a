// A program with PythonQt, as Slicer is one: it runs the Python file that its first argument names, with the other
// arguments as ARGUMENTS and the application as APPLICATION. VTK_WRAPPING names VTK's libvtkWrappingPythonCore.

#include "mrml_widgets.h"

#include <PythonQt.h>
#include <PythonQtCppWrapperFactory.h>
#include <PythonQt_QtAll.h>

#include <QApplication>
#include <QFile>

#include <cstdlib>
#include <dlfcn.h>
#include <iostream>

class vtkObjectBase;

// Objects of VTK are those of VTK's own Python, as in Slicer. The library has no headers on the package index.
class VTKFactory : public PythonQtForeignWrapperFactory
{
public:
  PyObject* wrap(const QByteArray& name, void* pointer) override
  {
    return name.startsWith("vtk") && load() ? toPython(static_cast<vtkObjectBase*>(pointer)) : nullptr;
  }

  void* unwrap(const QByteArray& name, PyObject* object) override
  {
    void* pointer = name.startsWith("vtk") && load() ? fromPython(object, name.constData()) : nullptr;
    if (!pointer)
      PyErr_Clear();
    return pointer;
  }

private:
  PyObject* (*toPython)(vtkObjectBase*) = nullptr;
  vtkObjectBase* (*fromPython)(PyObject*, const char*) = nullptr;

  bool load()
  {
    if (toPython)
      return true;
    void* library = dlopen(std::getenv("VTK_WRAPPING"), RTLD_NOW);
    if (!library)
    {
      std::cerr << dlerror() << std::endl;
      return false;
    }
    toPython = reinterpret_cast<decltype(toPython)>(
      dlsym(library, "_ZN13vtkPythonUtil20GetObjectFromPointerEP13vtkObjectBase"));
    fromPython = reinterpret_cast<decltype(fromPython)>(
      dlsym(library, "_ZN13vtkPythonUtil20GetPointerFromObjectEP7_objectPKc"));
    return toPython && fromPython;
  }
};

int main(int argc, char** argv)
{
  QApplication application(argc, argv);
  application.setQuitOnLastWindowClosed(false);
  application.addLibraryPath(application.applicationDirPath() + "/plugins");

  PythonQt::init(PythonQt::RedirectStdOut);
  QObject::connect(PythonQt::self(), &PythonQt::pythonStdOut,
    [](const QString& text) { std::cout << text.toStdString() << std::flush; });
  QObject::connect(PythonQt::self(), &PythonQt::pythonStdErr,
    [](const QString& text) { std::cerr << text.toStdString() << std::flush; });
  PythonQt_QtAll::init();
  PythonQt::self()->addWrapperFactory(new VTKFactory);
  for (auto widget :
    { &qMRMLWidget::staticMetaObject, &qMRMLNodeComboBox::staticMetaObject, &qMRMLTableView::staticMetaObject })
    PythonQt::self()->registerClass(widget, "mrml_widgets");

  QStringList arguments = application.arguments();
  QFile file(arguments.value(1));
  if (!file.open(QIODevice::ReadOnly))
  {
    std::cerr << "usage: host FILE.py [ARGUMENT ...]" << std::endl;
    return 2;
  }
  PythonQtObjectPtr main = PythonQt::self()->getMainModule();
  main.addVariable("ARGUMENTS", QStringList(arguments.mid(2)));
  main.addVariable("APPLICATION", QVariant::fromValue<QObject*>(&application));
  main.evalScript(QString::fromUtf8(file.readAll()));
  // What Python and Qt would clean up in turn is of no use any more.
  std::_Exit(main.getVariable("STATUS").toInt());
}
