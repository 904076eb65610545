//! The SlotMesh protocol without I/O.
