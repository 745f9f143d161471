//! Hosts as network namespaces, joined by a bridge: one can be cut off. Needs root and Debian's `iproute2`.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A network of hosts, in which this machine is `10.<net>.0.1`. Goes when dropped.
pub struct Network {
    bridge: String,
    net: u8,
    hosts: u8,
}

/// A host of it. Goes when dropped, with its link.
pub struct Host {
    name: String,
    link: String,
}

/// Whether this process may make networks. Where it may not, prints that the test is skipped; under CI that is an error.
pub fn may_make_networks() -> Result<bool> {
    let id = Command::new("id").arg("-u").output().context("id")?;
    let has_ip = Command::new("ip").arg("-V").output().is_ok();
    let may = has_ip && String::from_utf8_lossy(&id.stdout).trim() == "0";
    if !may {
        ensure!(std::env::var_os("CI").is_none(), "network namespaces need root and iproute2");
        println!("skipped: network namespaces need root and iproute2");
    }
    Ok(may)
}

fn ip(arguments: &[&str]) -> Result<()> {
    let done = Command::new("ip").args(arguments).output().context("ip")?;
    let complaint = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "ip {}: {}", arguments.join(" "), complaint.trim());
    Ok(())
}

impl Network {
    /// A new bridge with an address that nobody else has.
    pub fn new() -> Result<Self> {
        let pid = std::process::id();
        // Other tests of this machine have other processes.
        let net = u8::try_from(pid % 200 + 50).context("below 250")?;
        let network = Self { bridge: format!("smb{pid}"), net, hosts: 0 };
        ip(&["link", "add", &network.bridge, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/24", network.address()), "dev", &network.bridge])?;
        ip(&["link", "set", &network.bridge, "up"])?;
        Ok(network)
    }

    /// This machine's address in it.
    pub fn address(&self) -> String {
        format!("10.{}.0.1", self.net)
    }

    /// One more host, joined to the bridge.
    pub fn host(&mut self) -> Result<Host> {
        self.hosts += 1;
        let pid = std::process::id();
        let (name, link) = (format!("snowmelt-{pid}-{}", self.hosts), format!("sm{pid}-{}", self.hosts));
        let inside = format!("sn{pid}-{}", self.hosts);
        ip(&["netns", "add", &name])?;
        let host = Host { name, link };
        ip(&["link", "add", &host.link, "type", "veth", "peer", "name", &inside, "netns", &host.name])?;
        ip(&["link", "set", &host.link, "master", &self.bridge, "up"])?;
        let address = format!("10.{}.0.{}/24", self.net, self.hosts + 1);
        ip(&["-n", &host.name, "addr", "add", &address, "dev", &inside])?;
        ip(&["-n", &host.name, "link", "set", &inside, "up"])?;
        ip(&["-n", &host.name, "link", "set", "lo", "up"])?;
        Ok(host)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = ip(&["link", "del", &self.bridge]) {
            println!("{error:#}");
        }
    }
}

impl Host {
    /// The name of its namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Cuts it off: nothing comes or goes, and nobody is told.
    pub fn cut_off(&self) -> Result<()> {
        ip(&["link", "set", &self.link, "down"])
    }

    /// Joins it again.
    pub fn join(&self) -> Result<()> {
        ip(&["link", "set", &self.link, "up"])
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "del", &self.name]) {
            println!("{error:#}");
        }
    }
}
