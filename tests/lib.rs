//! What the integration tests of tenant-schemas have in common; they are in `tests/`.

use std::io::Write as _;

/// Says that something was not tested, and how to have it tested.
///
/// It goes past the test runner, which keeps for itself what passing tests print.
pub fn skipped(what: &str, how: &str) {
    let line = format!("SKIPPED: {what}: {how}\n");
    // Nobody is there to be told, if it can't be written.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
