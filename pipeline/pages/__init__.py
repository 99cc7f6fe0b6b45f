"""How our pages look: colours, drawings, and the frame that every page stands in."""
