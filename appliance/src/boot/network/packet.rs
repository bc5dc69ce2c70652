//! Raw Ethernet for DHCP: two packet sockets on one device, which the kernel filters down to DHCP answers and ARP
//! answers. A server may send its answer to an address this machine does not have yet, so no UDP socket would see it.

// UNSAFETY: nix has neither packet socket addresses nor SO_ATTACH_FILTER.
#![expect(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use libc::sock_filter;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};

/// Classic BPF, offsets in an Ethernet frame: IPv4 (the socket sees nothing else), UDP, no fragment, port 68.
const DHCP_ANSWERS: [sock_filter; 8] = [
    op(BPF_LDB_ABS, 0, 0, 23),  // protocol
    op(BPF_JEQ, 0, 5, 17),      // UDP, else drop
    op(BPF_LDH_ABS, 0, 0, 20),  // flags and fragment offset
    op(BPF_JSET, 3, 0, 0x1FFF), // a later fragment: drop
    op(BPF_LDX_MSH, 0, 0, 14),  // length of the IP header
    op(BPF_LDH_IND, 0, 0, 16),  // destination port
    op(BPF_JEQ, 1, 0, 68),      // DHCP client
    op(BPF_RET, 0, 0, 0),       // drop
];
/// As above for ARP: answers only, so that this stack and the kernel's do not both answer requests.
const ARP_ANSWERS: [sock_filter; 3] = [
    op(BPF_LDH_ABS, 0, 0, 20), // operation
    op(BPF_JEQ, 1, 0, 2),      // reply
    op(BPF_RET, 0, 0, 0),      // drop
];
/// Last line of both filters: keep the whole frame.
const KEEP: sock_filter = op(BPF_RET, 0, 0, 0xFFFF);

const BPF_LDB_ABS: u16 = 0x30;
const BPF_LDH_ABS: u16 = 0x28;
const BPF_LDX_MSH: u16 = 0xB1;
const BPF_LDH_IND: u16 = 0x48;
const BPF_JEQ: u16 = 0x15;
const BPF_JSET: u16 = 0x45;
const BPF_RET: u16 = 0x06;

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// The two sockets.
pub struct Packets {
    dhcp: OwnedFd,
    arp: OwnedFd,
}

impl Packets {
    /// Opens both on the device with this index.
    ///
    /// # Errors
    /// The kernel's; it wants `CAP_NET_RAW`.
    pub fn open(index: u32) -> io::Result<Self> {
        let with_keep = |filter: &[sock_filter]| [filter, &[KEEP]].concat();
        Ok(Self {
            dhcp: open_one(index, libc::ETH_P_IP as u16, &with_keep(&DHCP_ANSWERS))?,
            arp: open_one(index, libc::ETH_P_ARP as u16, &with_keep(&ARP_ANSWERS))?,
        })
    }

    /// The next frame that arrived, if there is one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn receive(&self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        for socket in [&self.dhcp, &self.arp] {
            match recv(socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => return Ok(Some(length)),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                // The device is down for a moment.
                Err(Errno::ENETDOWN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(None)
    }

    /// Sends a frame; one that cannot be sent is lost, as on any network.
    pub fn send(&self, frame: &[u8]) {
        let _ = send(self.dhcp.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT);
    }

    /// Waits for a frame, or for the time to pass.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&self, time: Duration) -> io::Result<()> {
        let mut sockets = [&self.dhcp, &self.arp].map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        // Rounded up: a wait of half a millisecond must not become a busy loop.
        let timeout = PollTimeout::try_from(time + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut sockets, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A socket that sees nothing until its filter is in place: protocol 0 at first, the real one with `bind`.
fn open_one(index: u32, protocol: u16, filter: &[sock_filter]) -> io::Result<OwnedFd> {
    // SAFETY: socket takes numbers; the result is checked before it is owned.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the option's value is one sock_fprog, whose pointer and length describe `filter`, which outlives the
    // call; the kernel copies it and writes to neither.
    let attached = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as u32,
        )
    };
    if attached != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sockaddr_ll is plain integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index.cast_signed();
    // SAFETY: the address is a whole sockaddr_ll and its length is given; the kernel only reads it.
    let bound =
        unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32) };
    if bound != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}
