//! Continuous batching as engines do it: chunked prefill under a token budget, then a token an iteration.
//!
//! Deterministic: the same seed gives the same batches, so that ranks and tests agree on them.

use crate::agent::api::Batch;

const MAX_RUNNING: usize = 32;
const TOKEN_BUDGET: u32 = 512;

/// A request on its way.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Which one, from 0.
    pub number: u64,
    /// Tokens of its prompt.
    pub prompt: u32,
    /// Tokens put out so far.
    pub output: u32,
    prompt_left: u32,
    output_left: u32,
}

/// What an iteration does.
#[derive(Debug, Default)]
pub struct Scheduled {
    /// Requests and tokens by phase.
    pub batch: Batch,
    /// Requests that came just now.
    pub arrived: Vec<Request>,
    /// Of those that are computed, the ones that were not before.
    pub begun: Vec<u64>,
    /// Number and tokens of each that is computed.
    pub served: Vec<(u64, u32)>,
    /// Those whose first token comes with this iteration.
    pub first_token: Vec<Request>,
    /// Those whose last token comes with this iteration.
    pub done: Vec<Request>,
}

/// The scheduler's queues.
#[derive(Debug)]
pub struct Batching {
    random: u64,
    next: u64,
    waiting: Vec<Request>,
    running: Vec<Request>,
}

impl Batching {
    /// Empty queues.
    pub fn new(seed: u64) -> Self {
        Self {
            random: seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15),
            next: 0,
            waiting: Vec::new(),
            running: Vec::new(),
        }
    }

    /// Requests that wait, and those that run.
    pub fn queues(&self) -> (usize, usize) {
        (self.waiting.len(), self.running.len())
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
    pub fn schedule(&mut self) -> Scheduled {
        let mut made = Scheduled::default();
        if self.running.is_empty() && self.waiting.is_empty() || self.below(4) == 0 {
            for _ in 0..=self.below(3) {
                let (prompt, output_left) = (16 + self.below(500), 4 + self.below(60));
                let request = Request { number: self.next, prompt, output: 0, prompt_left: prompt, output_left };
                self.next += 1;
                made.arrived.push(request);
                self.waiting.push(request);
            }
        }
        let mut budget = TOKEN_BUDGET;
        for request in self.running.iter_mut().filter(|r| r.prompt_left == 0) {
            made.batch.generation_requests += 1;
            made.batch.generation_tokens += 1;
            made.served.push((request.number, 1));
            request.output_left -= 1;
            request.output += 1;
            if request.output == 1 {
                made.first_token.push(*request);
            }
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
            made.batch.context_requests += 1;
            made.batch.context_tokens += chunk;
            made.served.push((request.number, chunk));
            if request.prompt_left == request.prompt {
                made.begun.push(request.number);
            }
            request.prompt_left -= chunk;
            budget -= chunk;
        }
        let done = |r: &Request| r.prompt_left == 0 && r.output_left == 0;
        made.done.extend(self.running.iter().filter(|r| done(r)));
        self.running.retain(|r| !done(r));
        made
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
            let b = batching.schedule().batch;
            assert!(b.context_requests + b.generation_requests > 0);
            assert!(b.context_tokens + b.generation_tokens <= TOKEN_BUDGET);
            assert_eq!(b.generation_requests, b.generation_tokens);
            mixed += u32::from(b.context_requests > 0 && b.generation_requests > 0);
            decode_only += u32::from(b.context_requests == 0);
        }
        assert!(mixed > 100 && decode_only > 100, "{mixed} {decode_only}");
    }

    #[test]
    fn what_is_computed_is_what_the_batch_says_and_every_request_goes_its_way() {
        let mut batching = Batching::new(3);
        let (mut arrived, mut begun, mut first, mut done) = (0, 0, 0, 0);
        for _ in 0..2000 {
            let made = batching.schedule();
            let tokens: u32 = made.served.iter().map(|served| served.1).sum();
            assert_eq!(tokens, made.batch.context_tokens + made.batch.generation_tokens);
            assert_eq!(made.served.len() as u32, made.batch.context_requests + made.batch.generation_requests);
            arrived += made.arrived.len();
            begun += made.begun.len();
            first += made.first_token.len();
            done += made.done.len();
            assert!(arrived >= begun && begun >= first && first >= done && done <= arrived);
        }
        assert!(done > 500 && arrived - done < 500, "{arrived} {begun} {first} {done}");
    }
}
