"""Hyper-V: a script for PowerShell. The appliance boots by BIOS: generation 1.

Source: Microsoft's reference of the module Hyper-V (New-VM, Add-VMHardDiskDrive).
"""

from pathlib import Path

from provision.export.hypervisors.machine import Definition, Product

SCRIPT = """\
#Requires -RunAsAdministrator
# Make the VM from the disks beside this file. -Switch: a switch of Hyper-V's; an external one is
# a bridge to the room.
param([string]$Switch = 'Default Switch', [string]$Name = {name})
$ErrorActionPreference = 'Stop'
# Hyper-V takes no sparse or compressed file, as some ways of copying leave them.
Get-ChildItem $PSScriptRoot -Filter *.vhdx |
  ForEach-Object {{ fsutil sparse setflag $_.FullName 0 }}
New-VM -Name $Name -Generation 1 -MemoryStartupBytes {memory} -SwitchName $Switch `
  -VHDPath (Join-Path $PSScriptRoot {boot})
Set-VMMemory -VMName $Name -DynamicMemoryEnabled $false
Set-VMProcessor -VMName $Name -Count {cpus}
{further}
Set-VM -Name $Name -CheckpointType Disabled -AutomaticStopAction ShutDown
Write-Output "Start-VM '$Name'; then (Get-VMNetworkAdapter '$Name').IPAddresses"
"""


def _files(machine: Definition) -> dict[str, str]:
    boot, *others = machine.disks
    further = "\n".join(
        f"Add-VMHardDiskDrive -VMName $Name -ControllerType IDE -ControllerNumber 0"
        f" -ControllerLocation {number} -Path (Join-Path $PSScriptRoot {_quote(file)})"
        for number, file in enumerate(others, 1)
    )
    return {
        "hyper-v.ps1": SCRIPT.format(
            name=_quote(machine.name),
            memory=machine.memory,
            boot=_quote(boot),
            cpus=machine.cpus,
            further=further,
        )
    }


def _quote(text: str) -> str:
    """A literal of PowerShell's."""
    return "'" + text.replace("'", "''") + "'"


def _then(machine: Definition, directory: Path) -> tuple[str, ...]:
    ports = " ".join(
        f"netsh interface portproxy add v4tov4 listenport={host} connectport={guest}"
        " connectaddress=ADDRESS;"
        for host, guest in machine.forwards.values()
    )
    return (
        f"copy {directory} to the Windows host; there, as administrator, in PowerShell:",
        f"powershell -ExecutionPolicy Bypass -File {directory.name}\\hyper-v.ps1",
        f"Start-VM '{machine.name}'; (Get-VMNetworkAdapter '{machine.name}').IPAddresses",
        f"to hand ports on to the VM's address: {ports}",
    )


HYPERV = Product(
    disk="vhdx",
    options="subformat=dynamic",
    disk_name=lambda number: f"disk{number}.vhdx",
    files=_files,
    then=_then,
)
