//! Kubernetes types of SlotMesh.
