//! A real Kubernetes on one machine, without Docker and without a container runtime: etcd,
//! kube-apiserver, controllers and scheduler as child processes ([`control_plane`]), and *process
//! nodes* ([`node`]) that run pods as child processes of the real binaries.

pub mod assets;
pub mod bench;
pub mod certificates;
pub mod chart_docs;
pub mod control_plane;
pub mod demo;
pub mod deploy;
#[cfg(test)]
mod house;
pub mod http;
pub mod lookups;
pub mod measure;
pub mod network;
pub mod node;
pub mod process;
pub mod record;
pub mod run_folder;
pub mod stage;
pub mod strangers;
pub mod tokens;
pub mod wait;
