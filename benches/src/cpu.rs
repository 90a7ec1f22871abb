//! CPU time of this process and of the server's, as Linux counts it.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// CPU time of this process, and of programs that it ran to their end.
pub(crate) fn client() -> Result<Duration> {
    let own = clock_gettime(ClockId::ProcessCPUTime);
    let own = Duration::try_from(own)?;
    Ok(own + ended_children("self")?)
}

/// CPU time of a server, given its first process: of all that are there, and all that have ended.
pub(crate) fn server(pid: u32) -> Result<Duration> {
    let pid = pid.to_string();
    let mut sum = ended_children(&pid)?;
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    for process in children.split_whitespace().chain([&*pid]) {
        // One that ends at this moment is among those that have ended the next time.
        if let Ok(stat) = fs::read_to_string(format!("/proc/{process}/schedstat"))
            && let Some(on_cpu) = stat.split(' ').next()
        {
            sum += Duration::from_nanos(on_cpu.parse()?);
        }
    }
    Ok(sum)
}

/// CPU time of the children of a process that have ended, to a hundredth of a second.
fn ended_children(pid: &str) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, which may have spaces, is in parentheses.
    let (_, fields) = stat.rsplit_once(") ").ok_or("a stat without a name")?;
    let mut ticks = 0;
    for field in fields.split(' ').skip(13).take(2) {
        ticks += field.parse::<u64>()?;
    }
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_nanos(
        ticks * (1_000_000_000 / ticks_per_second),
    ))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::client;

    #[test]
    fn time_of_a_program_that_ended_is_counted() {
        let before = client().unwrap();
        let status = Command::new("sh")
            .args(["-c", "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done"])
            .status()
            .unwrap();
        assert!(status.success());
        assert!(client().unwrap() > before);
    }
}
