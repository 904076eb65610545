//! The SlotMesh operator.

pub mod ca;
pub mod seam;

pub mod cell;
pub mod join;
pub mod life;
pub mod metrics;
pub mod plan;
