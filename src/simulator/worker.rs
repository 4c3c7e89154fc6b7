//! One rank: joins, then makes an iteration for every order on standard input, and answers each with a byte.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::agent::api::{self, Batch, Rank};

use super::arguments::Arguments;

/// Bytes of an order's head: the iteration's number, its batch, and how many requests follow.
const HEAD_BYTES: usize = 28;
/// Bytes of a request in an order: its number, and its tokens.
const REQUEST_BYTES: usize = 12;

/// An order as it goes through the pipe.
pub fn encode(iteration: u64, batch: Batch, served: &[(u64, u32)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + REQUEST_BYTES * served.len());
    bytes.extend_from_slice(&iteration.to_le_bytes());
    let fields = [batch.context_requests, batch.context_tokens, batch.generation_requests, batch.generation_tokens];
    for field in fields.into_iter().chain([served.len() as u32]) {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    for (request, tokens) in served {
        bytes.extend_from_slice(&request.to_le_bytes());
        bytes.extend_from_slice(&tokens.to_le_bytes());
    }
    bytes
}

/// Requests and their tokens, in the order that follows the head.
fn read_served(orders: &mut impl Read, count: u32, requests: &mut Vec<u64>, tokens: &mut Vec<u32>) -> io::Result<()> {
    requests.clear();
    tokens.clear();
    for _ in 0..count {
        let mut bytes = [0; REQUEST_BYTES];
        orders.read_exact(&mut bytes)?;
        let (request, count) = bytes.split_at(8);
        requests.push(u64::from_le_bytes(request.try_into().unwrap_or_default()));
        tokens.push(u32::from_le_bytes(count.try_into().unwrap_or_default()));
    }
    Ok(())
}

fn decode(bytes: &[u8; HEAD_BYTES]) -> (u64, Batch, u32) {
    let field = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
    let iteration = u64::from(field(0)) | u64::from(field(4)) << 32;
    let batch = Batch {
        context_requests: field(8),
        context_tokens: field(12),
        generation_requests: field(16),
        generation_tokens: field(20),
    };
    (iteration, batch, field(24))
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
        ..Rank::default()
    });
    if let Err(error) = joined {
        // An engine runs on without its profiler.
        writeln!(io::stderr(), "rank {rank}: {error}")?;
    }
    let (mut orders, mut answers) = (io::stdin().lock(), io::stdout().lock());
    answers.write_all(b"+")?;
    answers.flush()?;
    let mut order = [0; HEAD_BYTES];
    let (mut requests, mut tokens) = (Vec::new(), Vec::new());
    while orders.read_exact(&mut order).is_ok() {
        let (iteration, batch, count) = decode(&order);
        read_served(&mut orders, count, &mut requests, &mut tokens)?;
        let step = api::step();
        let begin = Instant::now();
        if step.is_recorded() {
            step.batch(batch);
            if rank == 0 {
                step.served(&requests, &tokens);
            }
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
