//! What logs and metrics say of a request.

use std::collections::BTreeMap;
use std::io;
use std::sync::{LazyLock, Mutex, PoisonError};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use crate::world::{Framework, World};

/// What was logged by anyone in this process, through `tracing` or `log`.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn listen() {
    static LISTENING: LazyLock<()> = LazyLock::new(|| {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
    LazyLock::force(&LISTENING);
}

/// What is logged while `f` runs, by this test and others.
pub(crate) fn log_of(f: impl FnOnce()) -> String {
    listen();
    let kept = || LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let before = kept().len();
    f();
    String::from_utf8_lossy(&kept()[before..]).into_owned()
}

/// The lines of the log that have a mark, which is a test's own.
fn lines(mark: &str) -> Vec<String> {
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    let log = String::from_utf8_lossy(&log);
    let lines = log.lines().filter(|line| line.contains(mark));
    lines.map(str::to_owned).collect()
}

pub(crate) fn c111_log_lines_carry_schema_and_domain<F: Framework>() {
    listen();
    let world = World::new();
    let served = F::serve(world.site().build());
    let name = std::any::type_name::<F>().replace("::", "-");
    let mark = |of: &str| format!("{name}-{of}");
    // Twice: looked up, and remembered.
    for _ in 0..2 {
        for (host, of) in [
            ("acme.my-domain.com", "acme"),
            ("globex.my-domain.com", "globex"),
            ("my-domain.com", "public"),
        ] {
            served.get(host, &format!("/log?{}", mark(of))).is(200, "");
        }
    }
    for (of, domain) in [
        ("acme", "acme.my-domain.com"),
        ("globex", "globex.my-domain.com"),
        ("public", "my-domain.com"),
    ] {
        // From the handler, from the closure on another thread, and from a task that outlived the request.
        let found = lines(&mark(of));
        assert!(found.len() >= 4, "{found:#?}");
        for line in &found {
            assert!(line.contains(&format!("schema={of}")), "{line}");
            let outlives = line.contains("afterwards");
            let says = line.contains(&format!("domain=\"{domain}\""));
            assert!(says || outlives, "{line}");
            for other in ["acme", "globex"].iter().filter(|other| **other != of) {
                assert!(!line.contains(other), "{line}");
            }
        }
    }
}

/// All that was counted in this process: a name with its labels, and how often.
///
/// A snapshot takes what it returns, and tests of two frameworks want it.
fn counted() -> BTreeMap<String, u64> {
    static METRICS: LazyLock<Snapshotter> = LazyLock::new(|| {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        recorder.install().expect("there is no other");
        snapshotter
    });
    static TOTALS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());
    let mut totals = TOTALS.lock().unwrap_or_else(PoisonError::into_inner);
    for (key, .., value) in METRICS.snapshot().into_vec() {
        let count = match value {
            DebugValue::Counter(count) => count,
            DebugValue::Histogram(values) => values.len() as u64,
            DebugValue::Gauge(_) => 0,
        };
        let labels = key.key().labels();
        let labels: Vec<String> = labels
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{} {}", key.key().name(), labels.join(" "));
        *totals.entry(name).or_default() += count;
    }
    totals.clone()
}

pub(crate) fn metrics_tell_outcomes_and_groups_and_never_tenants<F: Framework>() {
    counted();
    let world = World::new();
    // A group that no other test has.
    let group = if std::any::type_name::<F>().contains("Actix") {
        "of-actix"
    } else {
        "of-axum"
    };
    let site = world.site().group_by(move |_| group).bypass("/whoami");
    let served = F::serve(site.build());
    for (host, path) in [
        ("acme.my-domain.com", "/rooms"),
        ("globex.my-domain.com", "/rooms"),
        ("acme.my-domain.com", "/rooms"),
        ("acme.my-domain.com", "/whoami"),
        ("my-domain.com", "/plans"),
        ("nobody.my-domain.com", "/rooms"),
        ("no..host", "/rooms"),
    ] {
        served.get(host, path);
    }
    let counted = counted();
    let requests = |labels: &str| {
        counted
            .get(&format!("tenant_requests_total {labels}"))
            .copied()
    };
    assert_eq!(
        requests(&format!("outcome=tenant group={group}")),
        Some(3),
        "{counted:#?}"
    );
    for outcome in ["public", "bypassed", "unknown", "malformed"] {
        let count = requests(&format!("outcome={outcome} group="));
        assert!(count >= Some(1), "{outcome}: {counted:#?}");
    }
    let waits = counted.get("tenant_connection_wait_seconds outcome=taken");
    assert!(waits.is_some_and(|waits| *waits >= 4), "{counted:#?}");
    // However many tenants there are, there are as many of these.
    let said = format!("{counted:?}");
    assert!(!said.contains("acme") && !said.contains("globex"), "{said}");
}
