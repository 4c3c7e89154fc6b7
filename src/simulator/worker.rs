//! One rank: joins, then makes an iteration for every order on standard input, and answers each with a byte.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::agent::api::{self, Batch, Rank};

use super::arguments::Arguments;

/// Bytes of an order: the iteration's number and its batch.
pub const ORDER_BYTES: usize = 24;

/// An order as it goes through the pipe.
pub fn encode(iteration: u64, batch: Batch) -> [u8; ORDER_BYTES] {
    let mut bytes = [0; ORDER_BYTES];
    bytes[..8].copy_from_slice(&iteration.to_le_bytes());
    let fields = [batch.context_requests, batch.context_tokens, batch.generation_requests, batch.generation_tokens];
    for (slot, field) in bytes[8..].chunks_exact_mut(4).zip(fields) {
        slot.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8; ORDER_BYTES]) -> (u64, Batch) {
    let field = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
    let iteration = u64::from(field(0)) | u64::from(field(4)) << 32;
    let batch = Batch {
        context_requests: field(8),
        context_tokens: field(12),
        generation_requests: field(16),
        generation_tokens: field(20),
    };
    (iteration, batch)
}

/// Runs until standard input ends.
///
/// # Errors
/// What the pipes said.
pub fn run(arguments: &Arguments, group: u32, rank: u32) -> io::Result<()> {
    let joined = api::join(&Rank {
        job: arguments.job.clone(),
        group: group.to_string(),
        rank,
        world_size: arguments.ranks,
        engine: concat!("simulated ", env!("CARGO_PKG_VERSION")).into(),
        label: format!("tp{rank}"),
        tells_no_batch: false,
    });
    if let Err(error) = joined {
        // An engine runs on without its profiler.
        writeln!(io::stderr(), "rank {rank}: {error}")?;
    }
    let (mut orders, mut answers) = (io::stdin().lock(), io::stdout().lock());
    answers.write_all(b"+")?;
    answers.flush()?;
    let mut order = [0; ORDER_BYTES];
    while orders.read_exact(&mut order).is_ok() {
        let (iteration, batch) = decode(&order);
        let step = api::step();
        let begin = Instant::now();
        if step.is_recorded() {
            step.batch(batch);
        }
        let hangs = iteration == arguments.hang_at;
        let length =
            if hangs { Duration::from_millis(arguments.hang_ms) } else { Duration::from_micros(arguments.step_us) };
        std::thread::sleep(length.saturating_sub(begin.elapsed()));
        drop(step);
        if answers.write_all(b"+").and_then(|()| answers.flush()).is_err() {
            // The driver is gone, and with it the engine.
            break;
        }
    }
    Ok(())
}
