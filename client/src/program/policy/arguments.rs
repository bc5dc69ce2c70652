//! The command line of `lethe policy`.

use std::path::PathBuf;

use clap::Subcommand;

/// `lethe policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Print a policy, every line with its reason
    #[command(after_help = "\
What is printed is a whole policy: save it, change it, and give the file to --policy. Shorter is a
file that extends a built-in policy and replaces lines:

  name = \"our-rack\"
  about = \"standard, and only our machines\"
  extends = \"standard\"
  [sev_snp]
  chips = { is = [\"3b42…\"], because = \"these are ours\" }

Example: lethe policy show standard")]
    Show {
        /// hardware, standard, strict, dev, or a file
        #[arg(value_name = "NAME|FILE")]
        name: String,
    },
    /// Say whether a file is a policy, and what it changes of the one it extends
    #[command(after_help = "Exit status: 0 it is one, 2 it is not.\n\nExample: lethe policy check our-rack.toml")]
    Check {
        /// The file
        file: PathBuf,
    },
}
