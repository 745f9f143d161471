//! What the operating system knows of this process: CPU time and memory.
#![expect(unsafe_code, reason = "three calls of the C library that only fill in a structure of ours")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// User and system time of the whole process, in microseconds.
pub fn process_cpu_micros() -> u64 {
    usage(libc::RUSAGE_SELF)
}

/// User and system time of the calling thread, in microseconds.
fn thread_cpu_micros() -> u64 {
    usage(libc::RUSAGE_THREAD)
}

fn usage(who: libc::c_int) -> u64 {
    // SAFETY: all zeros is a valid rusage: it holds numbers only.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a structure of our own, for the time of the call.
    if unsafe { libc::getrusage(who, &raw mut usage) } != 0 {
        return 0;
    }
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    micros(usage.ru_utime) + micros(usage.ru_stime)
}

/// CPU time of the load generator's thread, told by that thread: it is none of the actor's.
#[derive(Debug, Clone, Default)]
pub struct GeneratorCpu(Arc<AtomicU64>);

impl GeneratorCpu {
    /// Takes the calling thread's time.
    pub fn tell(&self) {
        self.0.store(thread_cpu_micros(), Ordering::Relaxed);
    }

    /// Microseconds told last.
    pub fn micros(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The most memory that the process held at once (VmHWM), in bytes, since the last [`forget_peak`].
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Lets the peak begin anew, so that preparing the input does not count.
pub fn forget_peak() {
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        tracing::debug!(%error, "the peak of memory includes the preparation");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_cpu_and_memory() {
        let before = process_cpu_micros();
        let mut sum = 0_u64;
        while process_cpu_micros() < before + 1000 {
            sum = (0..100_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        let generator = GeneratorCpu::default();
        generator.tell();
        assert!(generator.micros() > 0);
        assert!(peak_memory() > 1 << 20);
    }
}
