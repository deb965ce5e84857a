// Shows the API's description at /docs.

SwaggerUIBundle({ url: "/api/v1/openapi.json", dom_id: "#swagger-ui", deepLinking: true, layout: "BaseLayout" });
