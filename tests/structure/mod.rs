//! What the project looks like: rooms and who may look into whom, the agent library, dependencies, the README.

mod agent_library;
mod dependencies;
mod readme;
mod rooms;
mod support;
