"""The binding of the Metal shim (objc/mlxc_metal.h). Floor 1: devices, pipelines and command
buffers; nothing here knows arrays."""
