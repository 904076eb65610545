//! The SlotMesh operator.

pub mod ca;
pub mod seam;

pub mod life;
pub mod plan;
