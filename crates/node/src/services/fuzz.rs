//! Fuzz targets of what clients and other nodes ask for: see docs/fuzzing.md.

use super::access::{grant, grant_message};
use super::admin_view::{
    config_of_subscription, config_of_topic, seek_of, selector_of, start_of, subscription_config,
    topic_config,
};
use super::backup_parts::{step_of, token_of};
use super::consumer::{settlements, token};
use super::forward::check_operation;
use bytes::Bytes;
use prost::Message;
use quorate_fuzz::{Seen, Source, peak_bytes, run};
use quorate_machine::{Envelope, Publish, Publishes, RestoreStep, block, entry};
use quorate_types::Refusal;
use quorate_wire::v1::{self, copy_part::Part, seek_subscription_request::To};

/// A message of that kind, with any of its fields.
fn any<T: Message + Default>(source: &mut Source<'_>) -> T {
    let bytes = source.fields(|bytes| T::decode(bytes).is_ok());
    T::decode(&bytes[..]).unwrap()
}

fn note<T>(seen: &Seen, read: &Result<T, Refusal>) {
    seen.damaged(read.is_ok());
    if read.is_ok() {
        seen.valid();
    }
}

#[test]
fn fuzz_admin_request() {
    run!(|source, seen| {
        match source.byte() % 6 {
            0 => {
                let read = config_of_topic(Some(any(source)));
                note(seen, &read);
                if let Ok(read) = read {
                    assert_eq!(config_of_topic(Some(topic_config(&read))), Ok(read));
                }
            }
            1 => {
                let read = config_of_subscription(Some(any(source)));
                note(seen, &read);
                if let Ok(read) = read {
                    // What gives way when a backlog without bounds is full is nobody's business.
                    let message = subscription_config(&read);
                    let again =
                        config_of_subscription(Some(message.clone())).map(|read| subscription_config(&read));
                    assert_eq!(again, Ok(message));
                }
            }
            2 => note(seen, &selector_of(&any::<v1::Binding>(source))),
            3 => {
                let to = any::<v1::SeekSubscriptionRequest>(source).to.unwrap_or(To::Mark(source.text()));
                note(seen, &seek_of(Some(&to)));
                start_of(Some(any(source)));
            }
            4 => {
                let read = grant(&any::<v1::Grant>(source));
                note(seen, &read);
                if let Ok(read) = read {
                    assert_eq!(grant(&grant_message(&read)), Ok(read));
                }
            }
            _ => {
                let given = v1::Grant {
                    permissions: vec!["publish".to_owned()],
                    namespace: source.text(),
                    names: source.text(),
                };
                note(seen, &grant(&given));
            }
        }
    });
}

#[test]
fn fuzz_settle() {
    run!(|source, seen| {
        let given: Vec<v1::Settlement> = (0..source.below(4)).map(|_| any(source)).collect();
        let read = settlements(&given);
        note(seen, &read);
        if let Ok(read) = read {
            assert_eq!(read.len(), given.len());
            assert!(read.iter().all(|settlement| settlement.first <= settlement.last));
        }
        // Most drawn verdicts are none.
        let verdict = i32::from(source.byte() % 6);
        let one = v1::Settlement { verdict, last: source.number(), ..Default::default() };
        note(seen, &settlements(&[one]));
        let bytes = source.bytes(20);
        assert_eq!((token(&bytes).is_ok(), token_of(&bytes).is_ok()), (bytes.len() == 16, bytes.len() == 16));
    });
}

/// A part of a backup's file, as a client sends it.
#[test]
fn fuzz_copy_part() {
    run!(|source, seen| {
        let part = match source.byte() % 4 {
            0 => Part::Head(v1::CopyHead { shard: 1, shards: 2, ..any(source) }),
            1 => Part::Rows(any(source)),
            2 => Part::Entries(any(source)),
            _ => Part::End(any(source)),
        };
        let mut bytes = v1::CopyPart { part: Some(part) }.encode_to_vec();
        if source.flip() {
            source.damage(&mut bytes);
        }
        let Ok(part) = v1::CopyPart::decode(&bytes[..]) else { return seen.damaged(false) };
        let (read, peak) = peak_bytes(|| step_of(part));
        assert!(peak <= (64 << 10) + 64 * bytes.len(), "{peak} bytes for {}", bytes.len());
        note(seen, &read);
        if let Ok((RestoreStep::Blocks(entries), payload)) = read {
            let sum: usize = entries.iter().map(|entry| entry.fragment_bytes as usize).sum();
            assert_eq!(sum, payload.len());
        }
    });
}

fn publish(source: &mut Source<'_>) -> Option<(Publish, Bytes)> {
    let mut publish: Publish = source.any().ok()?;
    let bodies: Vec<Vec<u8>> = (0..source.below(4)).map(|_| source.bytes(9)).collect();
    let fragment = block::fragment(&bodies);
    publish.fragment_bytes = u32::try_from(fragment.len()).ok()?;
    if let Some(run) = publish.runs.first_mut() {
        run.count = u32::try_from(bodies.len()).ok()?;
    }
    Some((publish, fragment))
}

/// An operation of another node's gateway, and the payloads beside it.
#[test]
fn fuzz_forwarded() {
    run!(|source, seen| {
        let Ok(mut envelope) = source.any::<Envelope>() else { return };
        let mut fragment = Vec::new();
        if source.flip() {
            let Some(all) = (0..=source.below(3)).map(|_| publish(source)).collect::<Option<Vec<_>>>() else {
                return;
            };
            fragment = all.iter().flat_map(|(_, fragment)| fragment.to_vec()).collect();
            envelope.op =
                quorate_machine::Op::PublishEach(Publishes::new(all.iter().map(|(publish, _)| publish)));
        }
        seen.valid();
        let mut bytes = entry::encode_envelope(&envelope).to_vec();
        match source.byte() % 4 {
            0 => source.damage(&mut bytes),
            1 => source.damage(&mut fragment),
            _ => {}
        }
        let Ok(envelope) = crate::forwarder::decode_envelope(&bytes) else { return seen.damaged(false) };
        let fragment = Bytes::from(fragment);
        let checked = check_operation(&envelope, &fragment);
        seen.damaged(checked.is_ok());
        if checked.is_ok() {
            assert_eq!(envelope.op.fragment_bytes(), fragment.len() as u64);
        }
    });
}
