//! Leader election on a `coordination.k8s.io` Lease.
//!
//! The core ([`Election`]) is pure; [`Elector`] carries its steps out. Each write is guarded by
//! `resourceVersion`, so of two candidates one loses. Whether a holder still renews is judged by
//! *observed change* on a local monotonic clock; the times inside the Lease are for people. A leader
//! counts its tenure from when it *sent* its last successful renewal and gives up after the renew
//! deadline, which is shorter than the time after which others may take the Lease: whoever was
//! deposed has stopped writing by then. (The rules of client-go's leader election, with its times.)

mod election;
mod elector;
mod tenure;

pub use election::{Election, Intent, LeaseView, Role, Step, Times, TimesError};
pub use elector::{Candidacy, Elector, ElectorError};
pub use tenure::{Deposed, Tenure};
