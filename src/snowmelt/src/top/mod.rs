//! `snowmelt top`: a running node live in the terminal.
//!
//! One thread asks the node ([`link`]), this one draws ([`draw`]) and reads keys; what is shown is decided in [`state`].

mod draw;
mod link;
mod state;

use std::io::IsTerminal;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEventKind};

use crate::cli::TopArgs;
use crate::status::client::Client;
use crate::top::link::Link;
use crate::top::state::{Action, State};
use crate::trouble::{Outcome, Trouble};

/// How long the node may take for an answer before the screen says so.
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon the screen shows what came.
const FRAME: Duration = Duration::from_millis(100);

/// Runs the command.
pub fn top(args: &TopArgs) -> Outcome {
    if !std::io::stdout().is_terminal() {
        return Err(Trouble::user("top needs a terminal; use `snowmelt status` or `snowmelt status --json`"));
    }
    let client = Client::new(&args.operator, PATIENCE)?;
    let state = State::new(client.url());
    let link = Link::start(client, args.every)?;
    let mut terminal = ratatui::try_init().map_err(|error| Trouble::machine("the terminal", error))?;
    let outcome = watch(&mut terminal, &link, state);
    ratatui::restore();
    outcome.map_err(|error| Trouble::machine("the terminal", error))
}

fn watch(terminal: &mut ratatui::DefaultTerminal, link: &Link, mut state: State) -> std::io::Result<()> {
    loop {
        while let Some(news) = link.news() {
            state.take(news);
        }
        terminal.draw(|frame| draw::draw(frame, &mut state))?;
        if !event::poll(FRAME)? {
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        if key.kind != KeyEventKind::Press {
            continue;
        }
        match state.key(key) {
            Action::Nothing => {}
            Action::Quit => return Ok(()),
            Action::Order(kind, part) => {
                if !link.order(kind, part) {
                    state.say("busy with the commands before".to_owned());
                }
            }
        }
    }
}
