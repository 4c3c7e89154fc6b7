//! Requests that are under way, each in a place of its own, with what is known of it so far.
//!
//! Places are numbered from 1; the lowest that is free is the next one's, so that there are as many as there ever were
//! requests at once. What a request costs here is two locks that nobody else holds for long, and a clock read at each of
//! its stages and pieces. Called by [`super::exchange`]; a capture asks for those under way at its end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};

use crate::capture::beside::passed::{Ending, Passed, PassedQueue, PassedTimes, UnderWay};
use crate::wire::clock::monotonic_ns;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// All of them.
#[derive(Debug)]
pub(super) struct Flights {
    places: Mutex<Places>,
    queue: Arc<PassedQueue>,
}

#[derive(Debug, Default)]
struct Places {
    taken: Vec<Option<Arc<Flight>>>,
    free: BinaryHeap<Reverse<usize>>,
}

/// One request.
#[derive(Debug)]
pub(super) struct Flight {
    place: usize,
    method: Method,
    uri: Uri,
    request_id: Option<HeaderValue>,
    known: Mutex<Known>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    times: PassedTimes,
    status: u16,
    chunks: u64,
    bytes: u64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flights {
    /// Captures ask through this queue.
    pub(super) fn new(queue: Arc<PassedQueue>) -> Arc<Self> {
        let flights = Arc::new(Self { places: Mutex::default(), queue: queue.clone() });
        queue.announce(flights.clone());
        flights
    }

    /// A request was accepted.
    pub(super) fn begin<B>(&self, request: &Request<B>) -> Arc<Flight> {
        let times = PassedTimes { accepted_ns: monotonic_ns(), ..PassedTimes::default() };
        let mut places = locked(&self.places);
        let place = match places.free.pop() {
            Some(Reverse(place)) => place,
            None => {
                places.taken.push(None);
                places.taken.len() - 1
            }
        };
        let flight = Arc::new(Flight {
            place,
            method: request.method().clone(),
            uri: request.uri().clone(),
            request_id: request.headers().get(REQUEST_ID).cloned(),
            known: Mutex::new(Known { times, ..Known::default() }),
        });
        places.taken[place] = Some(flight.clone());
        flight
    }

    /// It is over.
    pub(super) fn end(&self, flight: &Flight, ending: Ending) {
        flight.known().times.ended_ns = monotonic_ns();
        self.queue.offer(|| flight.describe(ending));
        let mut places = locked(&self.places);
        places.taken[flight.place] = None;
        places.free.push(Reverse(flight.place));
    }
}

impl UnderWay for Flights {
    fn under_way(&self) -> Vec<Passed> {
        let flights: Vec<Arc<Flight>> = locked(&self.places).taken.iter().flatten().cloned().collect();
        flights.iter().map(|flight| flight.describe(Ending::Open)).collect()
    }
}

impl Flight {
    fn known(&self) -> MutexGuard<'_, Known> {
        locked(&self.known)
    }

    /// It goes out to the engine, now.
    pub(super) fn forwarded(&self) {
        self.known().times.forwarded_ns = monotonic_ns();
    }

    /// The head of its answer is there.
    pub(super) fn answered(&self, status: u16) {
        let mut known = self.known();
        known.times.head_ns = monotonic_ns();
        known.status = status;
    }

    /// A piece of its answer is there.
    pub(super) fn received(&self, bytes: usize) {
        let now_ns = monotonic_ns();
        let mut known = self.known();
        if known.chunks == 0 {
            known.times.first_ns = now_ns;
        }
        known.times.last_ns = now_ns;
        known.chunks += 1;
        known.bytes += bytes as u64;
    }

    fn describe(&self, ending: Ending) -> Passed {
        let known = *self.known();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Passed {
            place: u32::try_from(self.place + 1).unwrap_or(u32::MAX),
            method: self.method.to_string(),
            path: self.uri.path().to_owned(),
            request_id: self.request_id.as_ref().map(text),
            status: known.status,
            times: known.times,
            chunks: known.chunks,
            bytes: known.bytes,
            ending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_free_is_the_next_ones_and_no_query_is_kept() {
        let flights = Flights::new(Arc::default());
        let request = || Request::get("/v1/models?secret").header("x-request-id", "mine").body(()).unwrap();
        let (first, second) = (flights.begin(&request()), flights.begin(&request()));
        flights.end(&first, Ending::Finished);
        let third = flights.begin(&request());
        assert_eq!((second.place, third.place), (1, 0));
        let under_way = flights.under_way();
        assert_eq!(under_way.iter().map(|passed| passed.place).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((&*under_way[0].path, under_way[0].request_id.as_deref()), ("/v1/models", Some("mine")));
    }
}
