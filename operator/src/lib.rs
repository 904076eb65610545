//! The SlotMesh operator.

pub mod ca;
pub mod seam;
