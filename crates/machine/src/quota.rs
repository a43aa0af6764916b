//! How much a tenant or a user may do.

use quorate_types::NamespaceName;
use serde::{Deserialize, Serialize};

/// Whose quota.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum QuotaOf {
    /// Of all that goes to a namespace, whoever it comes from. It need not be there.
    Namespace(NamespaceName),
    /// Of all that comes from a user, wherever it goes: 1 to 255 bytes.
    User(String),
}

/// What may go through each node. At least one bound is set, and none is 0: what nobody may do is a matter of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Messages published in a second.
    pub messages_per_second: Option<u64>,
    /// Bytes published in a second, as they are sent: payloads, keys and headers.
    pub bytes_per_second: Option<u64>,
    /// Streams of publishers and consumers that may be open.
    pub streams_max: Option<u32>,
}

impl QuotaOf {
    /// Bytes of a user's name.
    pub const USER_BYTES_MAX: usize = 255;
}

impl Quota {
    /// How many quotas there may be.
    pub const COUNT_MAX: usize = 1_000;

    fn bounds(&self) -> [Option<u64>; 3] {
        [self.messages_per_second, self.bytes_per_second, self.streams_max.map(u64::from)]
    }

    /// Whether it has a bound, and none that is 0.
    pub(crate) fn is_sound(&self) -> bool {
        self.bounds().iter().any(Option::is_some) && !self.bounds().contains(&Some(0))
    }
}
