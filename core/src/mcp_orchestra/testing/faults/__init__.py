"""Everything that servers and networks do wrong, at a test's command; needs nothing beside Python itself.

`FaultProxy` stands in front of any server and breaks the network; `sick_server` answers over HTTP whatever a test says;
`sick_command` is the command line of a process that misbehaves over stdio.
"""

from mcp_orchestra.testing.faults.commands import StdioFault, sick_command
from mcp_orchestra.testing.faults.http import sick_server
from mcp_orchestra.testing.faults.proxy import FaultProxy, Flow

__all__ = ["FaultProxy", "Flow", "StdioFault", "sick_command", "sick_server"]
