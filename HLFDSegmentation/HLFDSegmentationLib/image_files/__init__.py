"""What stands behind `ct_files`: DICOM, NIfTI, NRRD and MetaImage files, and what readers pass over in silence."""
