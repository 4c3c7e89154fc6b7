//! Continuous batching as engines do it: chunked prefill under a token budget, then a token an iteration.
//!
//! Deterministic: the same seed gives the same batches, so that ranks and tests agree on them.

use crate::agent::api::Batch;

const MAX_RUNNING: usize = 32;
const TOKEN_BUDGET: u32 = 512;

#[derive(Debug, Clone, Copy)]
struct Request {
    prompt_left: u32,
    output_left: u32,
}

/// The scheduler's queues.
#[derive(Debug)]
pub struct Batching {
    random: u64,
    waiting: Vec<Request>,
    running: Vec<Request>,
}

impl Batching {
    /// Empty queues.
    pub fn new(seed: u64) -> Self {
        Self {
            random: seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15),
            waiting: Vec::new(),
            running: Vec::new(),
        }
    }

    fn below(&mut self, limit: u32) -> u32 {
        // splitmix64
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % u64::from(limit)) as u32
    }

    /// Schedules one iteration: never an empty one, since an engine without work makes none.
    pub fn next_batch(&mut self) -> Batch {
        if self.running.is_empty() && self.waiting.is_empty() || self.below(4) == 0 {
            for _ in 0..=self.below(3) {
                let (prompt_left, output_left) = (16 + self.below(500), 4 + self.below(60));
                self.waiting.push(Request { prompt_left, output_left });
            }
        }
        let mut batch = Batch::default();
        let mut budget = TOKEN_BUDGET;
        for request in self.running.iter_mut().filter(|r| r.prompt_left == 0) {
            batch.generation_requests += 1;
            batch.generation_tokens += 1;
            request.output_left -= 1;
            budget -= 1;
        }
        while self.running.len() < MAX_RUNNING && !self.waiting.is_empty() {
            self.running.push(self.waiting.remove(0));
        }
        for request in self.running.iter_mut().filter(|r| r.prompt_left > 0) {
            let chunk = request.prompt_left.min(budget);
            if chunk == 0 {
                break;
            }
            batch.context_requests += 1;
            batch.context_tokens += chunk;
            request.prompt_left -= chunk;
            budget -= chunk;
        }
        self.running.retain(|r| r.prompt_left > 0 || r.output_left > 0);
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_iteration_has_work_within_the_budget() {
        let mut batching = Batching::new(7);
        let (mut mixed, mut decode_only) = (0, 0);
        for _ in 0..2000 {
            let b = batching.next_batch();
            assert!(b.context_requests + b.generation_requests > 0);
            assert!(b.context_tokens + b.generation_tokens <= TOKEN_BUDGET);
            assert_eq!(b.generation_requests, b.generation_tokens);
            mixed += u32::from(b.context_requests > 0 && b.generation_requests > 0);
            decode_only += u32::from(b.context_requests == 0);
        }
        assert!(mixed > 100 && decode_only > 100, "{mixed} {decode_only}");
    }
}
