//! One event on its way to the agent, and what Python's keywords become on the way. Nothing here raises.

use std::convert::Infallible;

use pyo3::prelude::*;

use crate::table::{self, Argument, Event, NONE};
use crate::texts;
use crate::values;

/// An event, but for its arguments.
pub(crate) struct Told {
    pub(crate) shape: u16,
    pub(crate) depth: u16,
    pub(crate) level: u32,
    pub(crate) name: u64,
    pub(crate) category: u64,
    pub(crate) track: u64,
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) value: f64,
    pub(crate) device_ns: u64,
    pub(crate) flow: Flow,
}

impl Told {
    pub(crate) const NOTHING: Self = Self {
        shape: 0,
        depth: 0,
        level: 0,
        name: 0,
        category: 0,
        track: 0,
        begin: 0,
        end: 0,
        value: 0.0,
        device_ns: NONE,
        flow: Flow::NONE,
    };

    /// One of this name, about which nothing is known.
    pub(crate) fn named(name: &Bound<'_, PyAny>, category: Option<&Bound<'_, PyAny>>) -> Self {
        Self { name: texts::handle(name), category: texts::optional(category), ..Self::NOTHING }
    }

    #[inline]
    pub(crate) fn tell(self, arguments: &[Argument]) {
        let event = Event {
            size: size_of::<Event>() as u32,
            shape: self.shape,
            depth: self.depth,
            level: self.level,
            flow_step: self.flow.step,
            name: self.name,
            category: self.category,
            track: self.track,
            begin: self.begin,
            end: self.end,
            value: self.value,
            device_ns: self.device_ns,
            flow: self.flow.number,
            arguments: arguments.as_ptr(),
            argument_count: arguments.len() as u64,
        };
        (table::current().event)(&raw const event);
    }
}

/// The arrow that an event is a part of.
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) step: u32,
    /// 0: none.
    pub(crate) number: u64,
}

impl Flow {
    pub(crate) const NONE: Self = Self { step: 0, number: 0 };

    /// An event is a part of one arrow: of the first that is named.
    pub(crate) fn of(begin: Number, step: Number, end: Number) -> Self {
        let numbers = [begin, step, end].into_iter().zip(0..);
        numbers
            .map(|(number, step)| Self { step, number: number.0 })
            .find(|flow| flow.number != 0)
            .unwrap_or(Self::NONE)
    }
}

/// A level: 1 to 3; what is none is 1.
#[derive(Clone, Copy)]
pub(crate) struct Level(pub(crate) u32);

impl Level {
    pub(crate) const BASIC: Self = Self(1);
}

impl<'a, 'py> FromPyObject<'a, 'py> for Level {
    type Error = Infallible;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> Result<Self, Self::Error> {
        Ok(Self(object.extract::<u32>().map_or(1, |level| level.clamp(1, 3))))
    }
}

/// A number that may be absent: what is none, or is not positive, is as if it were left out (0; a time: [`NONE`]).
#[derive(Clone, Copy)]
pub(crate) struct Number(pub(crate) u64);

impl Number {
    pub(crate) const ZERO: Self = Self(0);
    pub(crate) const NONE: Self = Self(NONE);

    /// As a number of nanoseconds or tokens: 0 where it was left out.
    pub(crate) fn or_zero(self) -> u64 {
        if self.0 == NONE { 0 } else { self.0 }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Number {
    type Error = Infallible;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> Result<Self, Self::Error> {
        if !values::is_number(&object) {
            return Ok(Self(NONE));
        }
        if let Ok(number) = object.extract::<u64>() {
            return Ok(Self(number));
        }
        // Times are often computed as floats.
        match object.extract::<f64>() {
            Ok(number) if number >= 0.0 => Ok(Self(number as u64)),
            _ => Ok(Self(NONE)),
        }
    }
}
