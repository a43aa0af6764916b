//! openraft's own contract suite over this crate's adapters and the real storage, on simulated and on real disks.

use crate::effects::NoEffects;
use crate::log_store::LogStore;
use crate::options::ConsensusOptions;
use crate::replica::Replica;
use crate::runtime::Runtime;
use crate::state_machine::StateMachine;
use crate::type_config::TypeConfig;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft_rt::AsyncRuntime;
use quorate_storage::{Disk, OpenStore, OsDisk, SimDisk, SimStore, SledStore, Storage, StorageOptions};
use quorate_types::{GroupId, Voter};
use std::sync::Arc;
use tempfile::TempDir;

async fn adapters(disk: Arc<dyn Disk>, store: Arc<dyn OpenStore>) -> (Storage, LogStore, StateMachine) {
    let storage = Storage::open(disk, store, StorageOptions::default()).await.unwrap();
    let group = GroupId::new(7);
    let effects = Arc::new(NoEffects);
    let replica = Replica::recover(
        Voter::from(1),
        group,
        storage.group(group),
        effects,
        ConsensusOptions::default().bounds(),
    )
    .await
    .unwrap();
    (storage, LogStore::new(Arc::clone(&replica), 1 << 20), StateMachine::new(replica))
}

struct Simulated;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, (SimDisk, SimStore, Storage)> for Simulated {
    async fn build(
        &self,
    ) -> Result<((SimDisk, SimStore, Storage), LogStore, StateMachine), StorageError<TypeConfig>> {
        let (disk, store) = (SimDisk::new(1), SimStore::new(1));
        let (storage, log, machine) = adapters(disk.mount(), store.mount()).await;
        Ok(((disk, store, storage), log, machine))
    }
}

struct Real;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, (Storage, TempDir)> for Real {
    async fn build(&self) -> Result<((Storage, TempDir), LogStore, StateMachine), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(OsDisk::open(directory.path()).unwrap());
        let store = SledStore::at(directory.path().join("store"));
        let (storage, log, machine) = adapters(disk, store).await;
        Ok(((storage, directory), log, machine))
    }
}

#[test]
fn openrafts_suite_passes_on_simulated_disks() {
    Runtime::run(Suite::test_all(Simulated)).unwrap();
}

#[test]
fn openrafts_suite_passes_on_real_disks() {
    Runtime::run(Suite::test_all(Real)).unwrap();
}
