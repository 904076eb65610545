//! An agent is killed and held down. The survivors agree, the slots find new owners with the fewest
//! moves, and it comes back.

use anyhow::{Result, ensure};
use slotmesh_e2e::measure::{self, Failure};
use slotmesh_e2e::stage::Stage;

use crate::Scene;

/// Seconds to the last survivor's verdict, on a machine that does other things too; promised are 1.5, and
/// `make bench-main` measures them.
const VERDICT_MAX: f64 = 5.0;

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "kill", 5).await?;
    let victim = &scene.agents[1];
    let victims = std::slice::from_ref(victim);
    let measured = measure::fail(stage, &scene.nodes, scene.name, victims, Failure::Kill).await?;
    println!("  {measured}");
    measured.ensure_minimal()?;
    ensure!(
        measured.spread.from_map < 4,
        "no survivor came to a verdict: the operator alone did"
    );
    let verdict = measured.spread.verdict;
    ensure!(verdict < VERDICT_MAX, "it took {verdict:.2} s");
    measure::back(stage, &scene.nodes, scene.name, victim).await?;
    stage.wait_ready(scene.name, 5).await?;
    scene.strike(stage).await
}
