//! The SlotMesh operator.
