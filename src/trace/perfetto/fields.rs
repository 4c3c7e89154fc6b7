//! Field numbers and enum values, message by message, of perfetto 0.59.1.

/// `Trace`.
pub(super) const PACKET: u32 = 1;

/// `TracePacket`.
pub(super) mod packet {
    pub(crate) const CLOCK_SNAPSHOT: u32 = 6;
    pub(crate) const TIMESTAMP: u32 = 8;
    pub(crate) const SEQUENCE_ID: u32 = 10;
    pub(crate) const TRACK_EVENT: u32 = 11;
    pub(crate) const INTERNED_DATA: u32 = 12;
    pub(crate) const SEQUENCE_FLAGS: u32 = 13;
    pub(crate) const DEFAULTS: u32 = 59;
    pub(crate) const TRACK_DESCRIPTOR: u32 = 60;
    pub(crate) const FIRST_ON_SEQUENCE: u32 = 87;
    /// Interned data and defaults begin anew.
    pub(crate) const STATE_CLEARED: u64 = 1;
    /// Can't be read without what came before on its sequence.
    pub(crate) const NEEDS_STATE: u64 = 2;
}

/// `TracePacketDefaults`.
pub(super) mod defaults {
    pub(crate) const TIMESTAMP_CLOCK_ID: u32 = 58;
}

/// `ClockSnapshot` and the clocks in it.
pub(super) mod clock {
    pub(crate) const CLOCKS: u32 = 1;
    pub(crate) const PRIMARY: u32 = 2;
    pub(crate) const ID: u32 = 1;
    pub(crate) const TIMESTAMP: u32 = 2;
    pub(crate) const REALTIME: u64 = 1;
    /// The first of those that belong to a sequence.
    pub(crate) const OF_SEQUENCE: u64 = 64;
}

/// `TrackDescriptor`, and what may be in it.
pub(super) mod track {
    pub(crate) const UUID: u32 = 1;
    pub(crate) const NAME: u32 = 2;
    pub(crate) const PROCESS: u32 = 3;
    pub(crate) const THREAD: u32 = 4;
    pub(crate) const PARENT_UUID: u32 = 5;
    pub(crate) const COUNTER: u32 = 8;
    pub(crate) const SIBLING_ORDER_RANK: u32 = 12;
    pub(crate) const PROCESS_ORDERING: u32 = 19;
    pub(crate) const THREAD_ORDERING: u32 = 20;
    /// By their rank, not by what a viewer thinks.
    pub(crate) const EXPLICIT: u64 = 1;
    pub(crate) const PROCESS_PID: u32 = 1;
    pub(crate) const PROCESS_SORT_INDEX: u32 = 3;
    pub(crate) const PROCESS_NAME: u32 = 6;
    pub(crate) const PROCESS_LABELS: u32 = 8;
    pub(crate) const THREAD_PID: u32 = 1;
    pub(crate) const THREAD_TID: u32 = 2;
    pub(crate) const THREAD_SORT_INDEX: u32 = 3;
    pub(crate) const THREAD_NAME: u32 = 5;
    pub(crate) const COUNTER_UNIT: u32 = 3;
    pub(crate) const COUNTER_UNIT_NAME: u32 = 6;
    pub(crate) const UNIT_COUNT: u64 = 2;
    pub(crate) const UNIT_BYTES: u64 = 3;
}

/// `TrackEvent`.
pub(super) mod event {
    pub(crate) const CATEGORY_IIDS: u32 = 3;
    pub(crate) const ANNOTATIONS: u32 = 4;
    pub(crate) const TYPE: u32 = 9;
    pub(crate) const NAME_IID: u32 = 10;
    pub(crate) const TRACK_UUID: u32 = 11;
    pub(crate) const CATEGORIES: u32 = 22;
    pub(crate) const NAME: u32 = 23;
    pub(crate) const COUNTER_VALUE: u32 = 30;
    pub(crate) const DOUBLE_COUNTER_VALUE: u32 = 44;
    pub(crate) const FLOW_IDS: u32 = 47;
    pub(crate) const TERMINATING_FLOW_IDS: u32 = 48;
    pub(crate) const SLICE_BEGIN: u64 = 1;
    pub(crate) const SLICE_END: u64 = 2;
    pub(crate) const INSTANT: u64 = 3;
    pub(crate) const COUNTER: u64 = 4;
}

/// `DebugAnnotation`.
pub(super) mod annotation {
    pub(crate) const NAME_IID: u32 = 1;
    pub(crate) const BOOL: u32 = 2;
    pub(crate) const UINT: u32 = 3;
    pub(crate) const INT: u32 = 4;
    pub(crate) const DOUBLE: u32 = 5;
    pub(crate) const STRING: u32 = 6;
    pub(crate) const NAME: u32 = 10;
    pub(crate) const DICT_ENTRIES: u32 = 11;
    pub(crate) const ARRAY_VALUES: u32 = 12;
}

/// `InternedData`, and the entries of its lists.
pub(super) mod interned {
    pub(crate) const CATEGORIES: u32 = 1;
    pub(crate) const EVENT_NAMES: u32 = 2;
    pub(crate) const ANNOTATION_NAMES: u32 = 3;
    pub(crate) const IID: u32 = 1;
    pub(crate) const TEXT: u32 = 2;
}
