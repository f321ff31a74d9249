#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| veilwatch_fuzz::run("queries", bytes));
