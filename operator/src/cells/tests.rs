#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use slotmesh_mesh::seal::SealKey;

use super::*;
use crate::ca::CaKey;
use crate::seam::{
    ApiFailure, ClusterKey, ClusterKeys, PodFacts, RecordFailure, Recorded, ReviewFailure,
    TokenFacts,
};
use crate::split::tests::{map, uid};

/// Records with compare-and-swap, and nothing else. `writes_left` makes the API server fall silent.
#[derive(Default)]
struct Store {
    records: Mutex<BTreeMap<String, (Map, u64)>>,
    writes_left: Mutex<usize>,
    /// The right to write is taken away.
    forbids: Mutex<bool>,
    log: Mutex<Vec<String>>,
    /// So many writers wait for each other before the first one writes.
    rivals: Option<tokio::sync::Barrier>,
    conflicts: Mutex<usize>,
    /// Whoever reads a record panics.
    breaks: AtomicBool,
}

impl Store {
    fn with(map: &Map) -> Arc<Self> {
        let store = Self::default();
        let record = (map.clone(), 1);
        store
            .records
            .lock()
            .unwrap()
            .insert(map.cell.clone(), record);
        Arc::new(store)
    }

    fn allow(&self, writes: usize) {
        *self.writes_left.lock().unwrap() = writes;
    }

    fn names(&self) -> BTreeSet<String> {
        self.records.lock().unwrap().keys().cloned().collect()
    }

    fn spend(&self, what: &str) -> Result<(), RecordFailure> {
        let mut left = self.writes_left.lock().unwrap();
        *left = left
            .checked_sub(1)
            .ok_or_else(|| RecordFailure::Unavailable("the test says so".into()))?;
        self.log.lock().unwrap().push(what.to_owned());
        Ok(())
    }
}

impl Kubernetes for Store {
    async fn review_token(&self, _: &str, _: Uid) -> Result<TokenFacts, ReviewFailure> {
        unreachable!("nobody joins over the network")
    }

    async fn live_pod(&self, _: &str, _: &str) -> Result<Option<PodFacts>, ApiFailure> {
        Err(ApiFailure("not asked for".into()))
    }

    async fn list_records(&self, _: &ClusterKey) -> Result<BTreeSet<String>, RecordFailure> {
        Ok(self.names())
    }

    async fn read_record(
        &self,
        _: &ClusterKey,
        cell: &str,
    ) -> Result<Option<Recorded>, RecordFailure> {
        assert!(!self.breaks.load(Ordering::Relaxed), "as the test wants it");
        let records = self.records.lock().unwrap();
        Ok(records.get(cell).map(|(map, version)| Recorded {
            map: map.clone(),
            version: RecordVersion(version.to_string()),
        }))
    }

    async fn delete_record(
        &self,
        _: &ClusterKey,
        cell: &str,
        version: &RecordVersion,
    ) -> Result<(), RecordFailure> {
        self.spend("delete")?;
        let mut records = self.records.lock().unwrap();
        match records.get(cell) {
            Some((_, found)) if found.to_string() != version.0 => {
                Err(RecordFailure::Conflict("another version".into()))
            }
            _ => {
                records.remove(cell);
                Ok(())
            }
        }
    }

    async fn write_record(
        &self,
        _: &ClusterKey,
        parent: Option<&RecordVersion>,
        map: &Map,
    ) -> Result<RecordVersion, RecordFailure> {
        map.validate().unwrap();
        if *self.forbids.lock().unwrap() {
            return Err(RecordFailure::Forbidden("cannot update gossipcells".into()));
        }
        if let Some(rivals) = &self.rivals
            && *self.conflicts.lock().unwrap() == 0
        {
            rivals.wait().await;
        }
        let mut records = self.records.lock().unwrap();
        let found = records.get(&map.cell).map(|(_, version)| *version);
        if found.map(|version| version.to_string()) != parent.map(|parent| parent.0.clone()) {
            *self.conflicts.lock().unwrap() += 1;
            return Err(RecordFailure::Conflict("another version".into()));
        }
        let before = records.get(&map.cell).map(|(map, _)| map.version());
        assert!(before < Some(map.version()), "a record only moves on");
        self.spend(match (parent, map.delegation.len()) {
            (None, _) => "create",
            (Some(_), 0) => "replace",
            (Some(_), _) => "delegate",
        })?;
        let version = found.unwrap_or(0) + 1;
        records.insert(map.cell.clone(), (map.clone(), version));
        Ok(RecordVersion(version.to_string()))
    }
}

/// An operator that leads one cluster, until it is dropped.
struct Operator {
    handle: CellHandle,
    _channels: (watch::Sender<Wishes>, watch::Sender<Inventory>),
}

fn operator(store: &Arc<Store>, members_max: usize) -> Operator {
    let map = map(8, 0, 1, 2048);
    let authority = Authority::generate(map.cluster, SystemTime::now()).unwrap();
    let settings = CellSettings {
        cluster: ClusterKey {
            namespace: "default".into(),
            name: "sessions".into(),
            uid: map.cluster,
        },
        keys: Arc::new(ClusterKeys {
            ca: CaKey::from_pem(authority.certificate_pem(), authority.key_pem()),
            map: Keypair::from_seed([3; 32]),
            seal: SealKey::from_bytes([4; 32]),
            seals_from_era: None,
        }),
        heartbeat_interval_ms: 200,
        first_epoch: 1,
        cell: map.cell,
    };
    let shared = Shared {
        local: Ipv4Addr::LOCALHOST.into(),
        join_address: (Ipv4Addr::LOCALHOST, 7401).into(),
        joins: Registry::default(),
        metrics: Metrics::new().unwrap(),
    };
    let mut wishes = Wishes::default();
    wishes.cells.max_members = members_max;
    let (wishes, wishes_receiver) = watch::channel(wishes);
    let (inventory, inventory_receiver) = watch::channel(Inventory::default());
    let handle = start(
        settings,
        store.clone(),
        inventory_receiver,
        wishes_receiver,
        &shared,
    );
    Operator {
        handle: handle.unwrap(),
        _channels: (wishes, inventory),
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// No agent runs, so nobody ever says that it has arrived: everything up to there happens, however
/// often the operator is killed, and nothing of it twice.
#[tokio::test]
async fn an_operator_killed_between_two_steps_is_followed_by_one_that_goes_on() {
    let whole = map(16, 0, 1, 1024);
    for steps in 0..=3 {
        let store = Store::with(&whole);
        store.allow(steps);
        let killed = operator(&store, 15);
        until("the steps that succeed", || {
            store.log.lock().unwrap().len() == steps
        })
        .await;
        drop(killed);
        store.allow(10);
        let next = operator(&store, 15);
        until("both parts", || store.names().len() == 3).await;
        until("a status that tells of the split", || {
            next.handle.status.borrow().splitting.is_some()
        })
        .await;
        drop(next);
        assert_eq!(
            *store.log.lock().unwrap(),
            ["delegate", "create", "create"],
            "killed after {steps} steps"
        );
        let records = store.records.lock().unwrap();
        let parts = records
            .values()
            .filter(|(map, _)| map.delegation.is_empty());
        for (part, _) in parts {
            for slot in part.slots.iter().step_by(61) {
                assert_eq!(part.owner_of(slot), whole.owner_of(slot));
            }
        }
    }
}

#[tokio::test]
async fn a_cell_within_its_limit_stays_whole() {
    let store = Store::with(&map(16, 0, 1, 1024));
    store.allow(10);
    let operator = operator(&store, 16);
    until("its status", || operator.handle.status.borrow().epoch > 0).await;
    assert_eq!(operator.handle.status.borrow().cells.len(), 1);
    assert_eq!(store.log.lock().unwrap().len(), 0);
}

/// Two operators both believe that they lead, know the same record and write at the same time: one of
/// them loses, reads again, and finds that nothing is left to do.
#[tokio::test]
async fn two_that_believe_they_lead_do_no_harm() {
    let whole = map(16, 0, 1, 1024);
    let mut store = Store {
        rivals: Some(tokio::sync::Barrier::new(2)),
        ..Store::default()
    };
    let record = (whole.clone(), 1);
    store
        .records
        .get_mut()
        .unwrap()
        .insert(whole.cell.clone(), record);
    let store = Arc::new(store);
    store.allow(100);
    let rivals = [operator(&store, 15), operator(&store, 15)];
    until("both parts", || store.names().len() == 3).await;
    until("a status that tells of the split", || {
        let tells = |rival: &Operator| rival.handle.status.borrow().splitting.is_some();
        rivals.iter().all(tells)
    })
    .await;
    assert!(*store.conflicts.lock().unwrap() > 0, "they did collide");
    let log = store.log.lock().unwrap();
    let steps: Vec<&String> = log.iter().filter(|step| *step != "replace").collect();
    assert_eq!(steps, ["delegate", "create", "create"], "{log:?}");
    let records = store.records.lock().unwrap();
    let parts: Vec<&Map> = records
        .values()
        .map(|(map, _)| map)
        .filter(|map| map.delegation.is_empty())
        .collect();
    let (parent, _) = &records[&whole.cell];
    for slot in whole.slots.iter() {
        let owners: Vec<_> = parts
            .iter()
            .filter(|part| part.slots.contains(slot))
            .map(|part| part.owner_of(slot))
            .collect();
        assert_eq!(owners, [parent.owner_of(slot)], "{slot:?}");
    }
}

/// Somebody deleted the record: the operator that knows it writes it again.
#[tokio::test]
async fn a_record_that_is_gone_is_written_again() {
    let whole = map(8, 0, 1, 2048);
    let store = Store::with(&whole);
    store.allow(10);
    let operator = operator(&store, 250);
    until("its status", || operator.handle.status.borrow().epoch > 0).await;
    store.records.lock().unwrap().clear();
    // Whatever makes it write next finds out.
    operator
        ._channels
        .0
        .send_modify(|wishes| wishes.cells.max_members = 7);
    until("the record", || {
        let records = store.records.lock().unwrap();
        records
            .values()
            .any(|(map, _)| map.epoch > whole.epoch && map.members == whole.members)
    })
    .await;
}

/// Else nobody would look after that cell until the operator is restarted.
#[tokio::test]
async fn a_cell_that_ends_by_itself_is_seen() {
    let store = Store::with(&map(8, 0, 1, 2048));
    store.breaks.store(true, Ordering::Relaxed);
    let operator = operator(&store, 250);
    until("the end of all", || operator.handle.is_finished()).await;
}

#[tokio::test]
async fn a_missing_right_is_told_until_it_is_given_back() {
    let store = Store::with(&map(16, 0, 1, 1024));
    store.allow(10);
    *store.forbids.lock().unwrap() = true;
    let operator = operator(&store, 15);
    let told = || operator.handle.status.borrow().forbidden.clone();
    until("the missing right", || told().is_some()).await;
    let message = told().unwrap();
    assert!(message.contains("gossipcells"), "{message}");
    assert!(message.contains("ClusterRole"), "{message}");
    *store.forbids.lock().unwrap() = false;
    until("both parts", || store.names().len() == 3).await;
    until("nothing to complain of", || told().is_none()).await;
}

fn two_cells() -> Vec<Arc<Map>> {
    let whole = map(12, 0, 1, 1366);
    let parent = split::delegate(&whole, "sessions", &BTreeSet::new());
    let parts = split::first_maps(&parent.unwrap().unwrap()).unwrap();
    parts.into_iter().map(Arc::new).collect()
}

#[test]
fn an_agent_comes_home() {
    let mut maps = two_cells();
    let [first, second] = [maps[0].cell.clone(), maps[1].cell.clone()];
    let listed = maps[1].members[2].uid;
    assert_eq!(home(&maps, listed, "anywhere"), Some(second.clone()));
    let node = maps[1].members[0].node.clone();
    assert_eq!(home(&maps, uid(500), &node), Some(second.clone()));
    Arc::make_mut(&mut maps[0]).members.pop();
    assert_eq!(home(&maps, uid(500), "new"), Some(first));
    Arc::make_mut(&mut maps[1]).members.truncate(2);
    assert_eq!(home(&maps, uid(500), "new"), Some(second));
    assert_eq!(home(&[], uid(500), "new"), None);
}

#[test]
fn each_cell_knows_the_others_and_a_death_there_changes_little() {
    let mut maps = two_cells();
    assert_eq!(directory_of(&maps[0], &maps), maps[0].directory);
    Arc::make_mut(&mut maps[1]).members.pop();
    assert_eq!(directory_of(&maps[0], &maps), maps[0].directory);
    Arc::make_mut(&mut maps[1]).members.remove(0);
    let changed = directory_of(&maps[0], &maps);
    assert_ne!(changed, maps[0].directory);
    assert_eq!(changed[0].slots, maps[1].slots);
}

#[test]
fn what_is_least_well_is_told_of_several_cells() {
    let cell = |epoch, served_slots, phase| CellStatus {
        epoch,
        served_slots,
        phase,
        desired: 12,
        wire_version: 1,
        ..CellStatus::default()
    };
    let serving = || cell(7, 8000, crate::seam::CellPhase::Serving);
    let idle = cell(9, 384, crate::seam::CellPhase::NoOwners);
    let merged = merge::merge(vec![serving(), idle], None);
    assert_eq!(merged.phase, crate::seam::CellPhase::NoOwners);
    assert_eq!(
        (merged.epoch, merged.served_slots, merged.desired),
        (9, 8384, 12)
    );
    assert_eq!(merge::merge(vec![serving()], None), serving());
}
