//! The memory of this process, as the operating system counts it.

use std::fs;

/// Bytes of memory this process has in use (`VmRSS`).
pub fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("the benches run on Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has a VmRSS");
    let kilobytes: usize =
        line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
    kilobytes * 1024
}
