// Tells Qt's loader of .ui files about the widgets of mrml_widgets.h.

#include "mrml_widgets.h"

#include <QDesignerCustomWidgetCollectionInterface>
#include <QDesignerCustomWidgetInterface>
#include <QIcon>

template <class Widget>
class Description : public QObject, public QDesignerCustomWidgetInterface
{
public:
  explicit Description(QObject* parent) : QObject(parent) {}
  QString name() const override { return Widget::staticMetaObject.className(); }
  QString group() const override { return {}; }
  QString toolTip() const override { return {}; }
  QString whatsThis() const override { return {}; }
  QString includeFile() const override { return {}; }
  QIcon icon() const override { return {}; }
  bool isContainer() const override { return true; }
  QWidget* createWidget(QWidget* parent) override { return new Widget(parent); }
};

class MRMLWidgetsPlugin : public QObject, public QDesignerCustomWidgetCollectionInterface
{
  Q_OBJECT
  Q_PLUGIN_METADATA(IID "org.qt-project.Qt.QDesignerCustomWidgetCollectionInterface")
  Q_INTERFACES(QDesignerCustomWidgetCollectionInterface)

public:
  QList<QDesignerCustomWidgetInterface*> customWidgets() const override
  {
    auto parent = const_cast<MRMLWidgetsPlugin*>(this);
    return { new Description<qMRMLWidget>(parent), new Description<qMRMLNodeComboBox>(parent),
      new Description<qMRMLTableView>(parent) };
  }
};

#include "mrml_widgets_plugin.moc"
