//! Entropy and clocks that reach past the seams: what the standard library and other crates ask libc for.
//!
//! Hash maps draw their seeds from `getrandom`, HTTP writes a date into its answers, HTTP/2 looks at a monotonic clock.
//! On a thread that simulates, these symbols of libc answer from the seed and from simulated time; on every other
//! thread from the kernel. Nothing that ships links this crate.
#![expect(unsafe_code, reason = "symbols of libc can only be taken over with its own signatures")]

use std::cell::Cell;
use std::time::Duration;

#[cfg(not(tokio_unstable))]
compile_error!(
    "the simulator needs tokio's seeded scheduler: --cfg tokio_unstable, which .cargo/config.toml sets unless RUSTFLAGS replaces it"
);

/// 2026-01-01T00:00:00Z, where every simulation begins.
pub(crate) const EPOCH_MS: u64 = 1_767_225_600_000;
/// What the monotonic clock shows then. Not zero: tokio and h2 subtract from it.
const UPTIME: Duration = Duration::from_secs(1_000_000);

thread_local! {
    static ENTROPY: Cell<Option<u64>> = const { Cell::new(None) };
    static ELAPSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// From here on this thread lives in simulated time and draws its entropy from `seed`. A thread simulates once: the
/// hash maps of a second simulation on it would be seeded differently from those of the first.
pub(crate) fn begin(seed: u64) {
    ENTROPY.set(Some(seed));
    ELAPSED.set(Duration::ZERO);
}

/// Sets simulated time.
pub(crate) fn set_elapsed(elapsed: Duration) {
    ELAPSED.set(elapsed);
}

/// Simulated time since the beginning.
pub(crate) fn elapsed() -> Duration {
    ELAPSED.get()
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// # Safety
/// As `getrandom(2)`: `buf` points to `len` writable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buf: *mut u8, len: usize, flags: u32) -> isize {
    let seeded = ENTROPY.try_with(Cell::get).ok().flatten();
    let Some(mut state) = seeded else {
        // SAFETY: the arguments are the caller's.
        let written = unsafe { libc::syscall(libc::SYS_getrandom, buf, len, flags) };
        return isize::try_from(written).unwrap_or(-1);
    };
    // SAFETY: promised by the caller.
    let out = unsafe { std::slice::from_raw_parts_mut(buf, len) };
    for chunk in out.chunks_mut(8) {
        let bytes = mix(&mut state).to_le_bytes();
        chunk.copy_from_slice(bytes.get(..chunk.len()).unwrap_or_default());
    }
    ENTROPY.set(Some(state));
    isize::try_from(len).unwrap_or(-1)
}

/// # Safety
/// As `getentropy(3)`: `buf` points to `len` writable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(buf: *mut u8, len: usize) -> libc::c_int {
    // SAFETY: promised by the caller.
    let written = unsafe { getrandom(buf, len.min(256), 0) };
    if len <= 256 && usize::try_from(written) == Ok(len) { 0 } else { -1 }
}

/// # Safety
/// As `clock_gettime(2)`: `time` points to a writable timespec.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let simulated = ENTROPY.try_with(Cell::get).ok().flatten().is_some();
    if !simulated {
        // SAFETY: the arguments are the caller's.
        let failed = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
        return libc::c_int::try_from(failed).unwrap_or(-1);
    }
    let base = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => Duration::from_millis(EPOCH_MS),
        _ => UPTIME,
    };
    let now = base + ELAPSED.get();
    let seconds = libc::time_t::try_from(now.as_secs()).unwrap_or(libc::time_t::MAX);
    // SAFETY: promised by the caller.
    unsafe { time.write(libc::timespec { tv_sec: seconds, tv_nsec: i64::from(now.subsec_nanos()) }) };
    0
}
