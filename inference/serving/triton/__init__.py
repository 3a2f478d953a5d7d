"""What the model server loads: the Python-backend models, copied into the repository by the build."""
