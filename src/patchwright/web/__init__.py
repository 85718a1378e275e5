"""What both servers, the page and the HTTP interface, have before a request is read.

hosts      the names in the header Host that are answered
listening  the socket, the time for headers, the number of connections, the log
"""
