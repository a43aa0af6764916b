use crate::support::Machine;
use bytes::Bytes;
use std::io::ErrorKind;

crate::on_both!(
    bytes_are_read_where_they_were_written,
    more_parts_than_one_call_takes_are_written_in_order,
    names_come_and_go,
    a_missing_file_is_not_found,
    a_directory_moves_with_its_files,
    truncating_cuts_and_extends_with_zeros,
    free_space_is_reported,
);

async fn bytes_are_read_where_they_were_written(machine: Machine) {
    let (disk, _) = machine.mount();
    let file = disk.open("f", true).await.unwrap();
    file.commit_at(10, vec![Bytes::from_static(b"he"), Bytes::new(), Bytes::from_static(b"llo")])
        .await
        .unwrap();
    file.write_at(0, Bytes::from_static(b"ab")).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 15);
    let other = disk.open("f", false).await.unwrap();
    assert_eq!(&other.read_at(0, 100).await.unwrap()[..], b"ab\0\0\0\0\0\0\0\0hello");
    assert_eq!(&other.read_at(12, 2).await.unwrap()[..], b"ll");
    assert!(other.read_at(15, 4).await.unwrap().is_empty());
    file.sync().await.unwrap();
}

async fn more_parts_than_one_call_takes_are_written_in_order(machine: Machine) {
    let (disk, _) = machine.mount();
    let file = disk.open("f", true).await.unwrap();
    let parts: Vec<Bytes> =
        (0..5_000_u32).map(|n| Bytes::from(n.to_le_bytes().repeat(n as usize % 3))).collect();
    file.commit_at(3, parts.clone()).await.unwrap();
    let read = file.read_at(3, 1 << 20).await.unwrap();
    assert_eq!(read, parts.concat());
}

async fn names_come_and_go(machine: Machine) {
    let (disk, _) = machine.mount();
    disk.create_dir("a/b").await.unwrap();
    disk.create_dir("a").await.unwrap();
    for name in ["a/two", "a/one"] {
        drop(disk.open(name, true).await.unwrap());
    }
    disk.sync_dir("a").await.unwrap();
    assert_eq!(disk.list("a").await.unwrap(), ["b", "one", "two"]);
    disk.rename("a/one", "a/two").await.unwrap();
    assert_eq!(disk.list("a").await.unwrap(), ["b", "two"]);
    disk.remove("a/two").await.unwrap();
    assert_eq!(disk.list("a").await.unwrap(), ["b"]);
}

async fn a_missing_file_is_not_found(machine: Machine) {
    let (disk, _) = machine.mount();
    let not_found = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::NotFound);
    not_found(disk.open("none", false).await.map(|_| ()).unwrap_err());
    not_found(disk.open("none/f", true).await.map(|_| ()).unwrap_err());
    not_found(disk.remove("none").await.unwrap_err());
    not_found(disk.rename("none", "some").await.unwrap_err());
    not_found(disk.list("none").await.unwrap_err());
}

async fn a_directory_moves_with_its_files(machine: Machine) {
    let (disk, _) = machine.mount();
    disk.create_dir("from/in").await.unwrap();
    let file = disk.open("from/in/f", true).await.unwrap();
    file.write_at(0, Bytes::from_static(b"x")).await.unwrap();
    disk.create_dir("aside").await.unwrap();
    disk.rename("from", "aside/to").await.unwrap();
    let moved = disk.open("aside/to/in/f", false).await.unwrap();
    assert_eq!(&moved.read_at(0, 9).await.unwrap()[..], b"x");
    assert!(disk.list("from").await.is_err());
}

async fn truncating_cuts_and_extends_with_zeros(machine: Machine) {
    let (disk, _) = machine.mount();
    let file = disk.open("f", true).await.unwrap();
    file.write_at(0, Bytes::from_static(b"hello")).await.unwrap();
    file.truncate(2).await.unwrap();
    file.truncate(4).await.unwrap();
    assert_eq!(&file.read_at(0, 9).await.unwrap()[..], b"he\0\0");
}

async fn free_space_is_reported(machine: Machine) {
    let (disk, _) = machine.mount();
    assert!(disk.free_bytes().await.unwrap() > 0);
}

#[test]
fn a_data_directory_has_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let first = quorate_storage::OsDisk::open(directory.path()).unwrap();
    let second = quorate_storage::OsDisk::open(directory.path()).map(|_| ()).unwrap_err();
    assert!(second.to_string().contains("in use by another process"), "{second}");
    drop(first);
    quorate_storage::OsDisk::open(directory.path()).unwrap();
}
