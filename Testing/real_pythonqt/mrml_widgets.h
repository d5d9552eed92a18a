// Stand-ins for the three widgets of Slicer's qMRMLWidgets that the panels use: their properties, slots and signals,
// without the list of nodes. What a user chooses is `userChooses`.

#pragma once

#include <QStandardItemModel>
#include <QStringList>
#include <QTableView>
#include <QVariant>
#include <QWidget>

class vtkMRMLNode;
class vtkMRMLScene;
class vtkMRMLTableNode;
Q_DECLARE_OPAQUE_POINTER(vtkMRMLNode*)
Q_DECLARE_OPAQUE_POINTER(vtkMRMLScene*)
Q_DECLARE_OPAQUE_POINTER(vtkMRMLTableNode*)

class qMRMLWidget : public QWidget
{
  Q_OBJECT

public:
  explicit qMRMLWidget(QWidget* parent = nullptr) : QWidget(parent) {}
  Q_INVOKABLE vtkMRMLScene* mrmlScene() const { return scene; }

public Q_SLOTS:
  void setMRMLScene(vtkMRMLScene* newScene)
  {
    scene = newScene;
    emit mrmlSceneChanged(newScene);
  }

Q_SIGNALS:
  void mrmlSceneChanged(vtkMRMLScene*);

private:
  vtkMRMLScene* scene = nullptr;
};

class qMRMLNodeComboBox : public qMRMLWidget
{
  Q_OBJECT
  Q_PROPERTY(QStringList nodeTypes MEMBER nodeTypes)
  Q_PROPERTY(bool showHidden MEMBER showHidden)
  Q_PROPERTY(bool showChildNodeTypes MEMBER showChildNodeTypes)
  Q_PROPERTY(bool noneEnabled MEMBER noneEnabled)
  Q_PROPERTY(QString noneDisplay MEMBER noneDisplay)
  Q_PROPERTY(QString baseName MEMBER baseName)
  Q_PROPERTY(bool addEnabled MEMBER addEnabled)
  Q_PROPERTY(bool removeEnabled MEMBER removeEnabled)
  Q_PROPERTY(bool editEnabled MEMBER editEnabled)
  Q_PROPERTY(bool renameEnabled MEMBER renameEnabled)
  Q_PROPERTY(bool selectNodeUponCreation MEMBER selectNodeUponCreation)

public:
  explicit qMRMLNodeComboBox(QWidget* parent = nullptr) : qMRMLWidget(parent) {}
  Q_INVOKABLE vtkMRMLNode* currentNode() const { return node; }
  Q_INVOKABLE void addAttribute(const QString&, const QString&, const QVariant& = QVariant()) {}

public Q_SLOTS:
  void setCurrentNode(vtkMRMLNode* newNode)
  {
    if (newNode == node)
      return;
    node = newNode;
    emit currentNodeChanged(newNode);
    emit currentNodeChanged(newNode != nullptr);
    // Slicer sends a key to the list, which Qt takes for a choice of the user's.
    if (newNode != nullptr)
      emit nodeActivated(newNode);
  }
  void userChooses(vtkMRMLNode* newNode)
  {
    setCurrentNode(newNode);
    emit nodeActivated(newNode);
  }

Q_SIGNALS:
  void currentNodeChanged(vtkMRMLNode*);
  void currentNodeChanged(bool);
  void currentNodeIDChanged(QString);
  void nodeActivated(vtkMRMLNode*);
  void nodeAdded(vtkMRMLNode*);
  void nodeAddedByUser(vtkMRMLNode*);

private:
  QStringList nodeTypes;
  QString noneDisplay, baseName;
  bool showHidden = false, showChildNodeTypes = true, noneEnabled = false;
  bool addEnabled = true, removeEnabled = true, editEnabled = false, renameEnabled = false;
  bool selectNodeUponCreation = true;
  vtkMRMLNode* node = nullptr;
};

class qMRMLTableView : public QTableView
{
  Q_OBJECT

public:
  explicit qMRMLTableView(QWidget* parent = nullptr) : QTableView(parent) { setModel(new QStandardItemModel(this)); }
  Q_INVOKABLE vtkMRMLTableNode* mrmlTableNode() const { return node; }

public Q_SLOTS:
  void setMRMLTableNode(vtkMRMLTableNode* newNode) { node = newNode; }
  void setMRMLScene(vtkMRMLScene*) {}

private:
  vtkMRMLTableNode* node = nullptr;
};
