//! A foreign initial RAM disk: what a hostile host would like to run in the place of our program.

use initramfs::{Contents, List};

/// What the foreign program prints before it powers the machine off.
pub const MARK: &str = "FOREIGN INIT RUNS";

/// A whole static program: writes [`MARK`] to its console and powers off.
///
/// One ELF header, one program header, two system calls (`write`, `reboot`), assembled by hand so that the test needs no compiler.
#[must_use]
pub fn program() -> Vec<u8> {
    let message = format!("{MARK}\n");
    let mut code = Vec::new();
    code.extend([0xb8, 1, 0, 0, 0]); // mov eax, 1 (write)
    code.extend([0xbf, 1, 0, 0, 0]); // mov edi, 1
    let lea = code.len();
    code.extend([0x48, 0x8d, 0x35, 0, 0, 0, 0]); // lea rsi, [rip + message]
    code.push(0xba);
    code.extend(u32::try_from(message.len()).unwrap_or(0).to_le_bytes()); // mov edx, length
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xb8, 169, 0, 0, 0]); // mov eax, 169 (reboot)
    code.extend([0xbf, 0xad, 0xde, 0xe1, 0xfe]); // mov edi, LINUX_REBOOT_MAGIC1
    code.extend([0xbe, 0x69, 0x19, 0x12, 0x28]); // mov esi, LINUX_REBOOT_MAGIC2
    code.extend([0xba, 0xdc, 0xfe, 0x21, 0x43]); // mov edx, LINUX_REBOOT_CMD_POWER_OFF
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xeb, 0xfe]); // jmp to itself
    let offset = u32::try_from(code.len() - (lea + 7)).unwrap_or(0);
    code[lea + 3..lea + 7].copy_from_slice(&offset.to_le_bytes());
    code.extend(message.as_bytes());

    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 0x40 + 0x38;
    let size = HEADERS + code.len() as u64;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    elf.extend([2, 0, 0x3e, 0, 1, 0, 0, 0]); // executable, x86-64
    elf.extend((BASE + HEADERS).to_le_bytes()); // entry
    elf.extend(0x40_u64.to_le_bytes()); // program headers
    elf.extend([0; 12]); // no sections, no flags
    elf.extend([0x40, 0, 0x38, 0, 1, 0, 0x40, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]); // PT_LOAD, read and execute
    for field in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(code);
    elf
}

/// The archive: the foreign program as `/init`, with the console it writes to.
///
/// # Panics
/// When our own writer refuses the list.
#[must_use]
pub fn archive() -> Vec<u8> {
    let list = "dir /dev 0755 0 0\nnod /dev/console 0600 0 0 c 5 1\nfile /init ${FOREIGN} 0755 0 0\n";
    let list = List::parse(&[list]).expect("the list is well formed");
    list.archive(&Contents::from([("FOREIGN", program().as_slice())])).expect("the archive is written")
}

/// A whole EFI application: writes [`MARK`] to the first serial port and halts.
///
/// One section of code behind the headers, assembled by hand so that the test needs no compiler.
#[must_use]
pub fn application() -> Vec<u8> {
    const ALIGNMENT: usize = 0x200;
    let message = format!("{MARK}\r\n");
    let mut code = vec![0x66, 0xba, 0xf8, 0x03]; // mov dx, 0x3f8
    code.extend([0x48, 0x8d, 0x35, 10, 0, 0, 0]); // lea rsi, [rip + message]
    code.push(0xb9);
    code.extend(u32::try_from(message.len()).unwrap_or(0).to_le_bytes()); // mov ecx, length
    code.extend([0xf3, 0x6e]); // rep outsb
    code.extend([0xf4, 0xeb, 0xfd]); // hlt, for ever
    code.extend(message.as_bytes());
    code.resize(ALIGNMENT, 0);

    let mut file = vec![0; 0x40];
    file[..2].copy_from_slice(b"MZ");
    file[60] = 0x40;
    let word = |file: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|value| file.extend(value.to_le_bytes()));
    let long = |file: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|value| file.extend(value.to_le_bytes()));
    file.extend(b"PE\0\0");
    word(&mut file, &[0x8664, 1]); // x86-64, one section
    long(&mut file, &[0, 0, 0]);
    word(&mut file, &[0xf0, 0x22, 0x20b, 0]); // optional header of PE32+: its size, an executable, its kind
    long(&mut file, &[0x200, 0, 0, 0x1000, 0x1000, 0, 0, 0x1000, 0x200]); // sizes, entry, base, alignments
    long(&mut file, &[0, 0, 0, 0, 0x2000, 0x200, 0]); // versions, sizes of image and headers, checksum
    word(&mut file, &[10, 0]); // an EFI application
    long(&mut file, &[0; 9]); // stack, heap, loader's flags
    long(&mut file, &[16]);
    long(&mut file, &[0; 32]); // no directories
    file.extend(b".text\0\0\0");
    long(&mut file, &[0x200, 0x1000, 0x200, 0x200, 0, 0, 0, 0x6000_0020]);
    file.resize(ALIGNMENT, 0);
    file.extend(code);
    file
}
