//! Crash points: places where a test can end the process.

/// Ends the process here if a test armed the point of this name, by the rules of the crate
/// [`fail`](https://docs.rs/fail). Compiled to nothing without the feature `crash-points`.
#[inline]
pub fn crash_point(name: &'static str) {
    #[cfg(feature = "crash-points")]
    fail::fail_point!(name, |_| {
        // Not a panic: nothing is unwound, as when the process is killed.
        std::process::abort()
    });
    #[cfg(not(feature = "crash-points"))]
    let _ = name;
}
