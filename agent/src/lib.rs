//! The SlotMesh agent.
